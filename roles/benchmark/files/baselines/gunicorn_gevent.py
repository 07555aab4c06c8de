# Tutorial 001, but for the address, and for options that gunicorn no longer has: debug, logfile, x_forwarded_for_header
import multiprocessing

import gevent.monkey

gevent.monkey.patch_all()

loglevel = "debug"
bind = "127.0.0.1:18500"
pidfile = "/tmp/gunicorn.pid"
errorlog = "/tmp/error.log"
accesslog = "/tmp/access.log"
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "gunicorn.workers.ggevent.GeventWorker"
