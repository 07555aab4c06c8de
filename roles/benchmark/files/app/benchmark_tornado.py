"""The same as an application of Tornado's own; it waits in Tornado's loop."""

import sys

import tornado.ioloop
import tornado.web
from benchmark_asgi import answer


class Handler(tornado.web.RequestHandler):
    async def get(self, path: str) -> None:
        self.write(await answer(f"/{path}", self.request.query))


# A prefix stays in the path, for Tornado knows none.
app = tornado.web.Application([(r"/(?:[a-z0-9-]+-(?:unix|tcp)/)?(.*)", Handler)])

if __name__ == "__main__":
    app.listen(int(sys.argv[1]), "127.0.0.1")
    tornado.ioloop.IOLoop.current().start()
