"""Say what a request looks like to the app: once for each interface, in the same bytes."""

import asyncio
import base64
import hashlib
import json
import os
import time
from urllib.parse import unquote

STAMPED = ("/", "/slow")


def told(**seen):
    print("path is", seen["path"], flush=True)
    return json.dumps(seen, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def headers_of(pairs):
    """Return what an app may rely on; the rest is the web server's and the server's business."""
    wanted = ("host", "content-type", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-custom", "cookie")
    return {name: value for name, value in pairs if name in wanted and value}


def wsgi(environ, start_response):
    if environ.get("HTTP_UPGRADE") == "websocket" and "gunicorn.socket" in environ:
        greet_back(environ)
        raise StopIteration  # by which gunicorn leaves the connection alone
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = [(key[5:].replace("_", "-").lower(), value) for key, value in environ.items() if key.startswith("HTTP_")]
    headers += [(key.replace("_", "-").lower(), environ.get(key, "")) for key in ("CONTENT_TYPE", "CONTENT_LENGTH")]
    path = environ["PATH_INFO"]
    time.sleep(pause(path, environ["QUERY_STRING"]))
    answer = (
        stamped(body)
        if path in STAMPED
        else told(
            method=environ["REQUEST_METHOD"],
            scheme=environ["wsgi.url_scheme"],
            client=environ["REMOTE_ADDR"],
            prefix=environ["SCRIPT_NAME"],
            path=path.encode("latin-1").decode(),
            query=environ["QUERY_STRING"],
            server=f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
            headers=headers_of(headers),
            body=hashlib.sha256(body).hexdigest(),
        )
    )
    start_response("200 OK", [*plain(answer)])
    return [answer]


def greet_back(environ):
    """Take the connection over and echo one short text (RFC 6455)."""
    key = environ["HTTP_SEC_WEBSOCKET_KEY"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    connection = environ["gunicorn.socket"]
    head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    connection.sendall("\r\n".join((*head, f"Sec-WebSocket-Accept: {accepted}", "", "")).encode())
    frame = connection.recv(200)
    mask, text = frame[2:6], frame[6:]
    said = b"echo " + bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    connection.sendall(bytes((0x81, len(said))) + said)


def stamped(body):
    """Say what molecule/load.py asks for."""
    release = os.environ.get("APP_RELEASE", "")
    return json.dumps({"release": release, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode()


def pause(path, query):
    """Return how long an answer takes."""
    return float(query.partition("=")[2]) if path == "/slow" else 0.001 if path == "/hello" else 0


def plain(answer):
    return [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(answer))),
        ("X-Release", os.environ.get("APP_RELEASE", "")),
    ]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            kind = event["type"].rpartition(".")[2]
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"echo {event['text']}"})
        return
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
    path = scope["path"][len(scope["root_path"]) :]
    query = scope["query_string"].decode()
    await asyncio.sleep(pause(path, query))
    answer = (
        stamped(body)
        if path in STAMPED
        else told(
            method=scope["method"],
            scheme=scope["scheme"],
            client=(scope["client"] or [""])[0],
            prefix=scope["root_path"],
            path=path,
            query=query,
            server=":".join(map(str, scope["server"] or [])),
            headers=headers_of(headers),
            body=hashlib.sha256(body).hexdigest(),
        )
    )
    pairs = [(name.lower().encode(), value.encode()) for name, value in plain(answer)]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await send({"type": "http.response.body", "body": answer})


def flask():
    """Return a Flask application, as ``flask run`` wants one."""
    from flask import Flask

    app = Flask("echo")
    app.wsgi_app = wsgi
    return app


def tornado():
    from tornado import web, websocket

    class Echo(web.RequestHandler):
        async def answer(self):
            request = self.request
            await asyncio.sleep(pause(request.path, request.query))
            answer = (
                stamped(request.body)
                if request.path in STAMPED
                else told(
                    method=request.method,
                    scheme=request.protocol,
                    client=request.remote_ip,
                    prefix="",
                    path=unquote(request.path),
                    query=request.query,
                    server=f"{request.host_name}:{request.headers.get('X-Forwarded-Port')}",
                    headers=headers_of((name.lower(), value) for name, value in request.headers.get_all()),
                    body=hashlib.sha256(request.body).hexdigest(),
                )
            )
            for name, value in plain(answer):
                self.set_header(name, value)
            self.write(answer)

        get = post = put = answer

    class Socket(websocket.WebSocketHandler):
        def on_message(self, message):
            self.write_message(f"echo {message}")

    return web.Application([("/socket", Socket), (".*", Echo)])
