# Tutorial 000, to the letter but for the address.
workers = 16
bind = "127.0.0.1:18500"
accesslog = "/tmp/gunicorn_acess.log"
errorlog = "/tmp/gunicorn_error.log"
loglevel = "warning"
