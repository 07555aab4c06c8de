"""A Django site that accepts the names below one domain alone, and whose first page needs a login."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.shortcuts import redirect
from django.urls import path

settings.configure(ALLOWED_HOSTS=[".wild.example"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", USE_TZ=True)


def start(request):
    return redirect("login")


def login(request):
    return JsonResponse({"url": request.build_absolute_uri(), "client": request.META["REMOTE_ADDR"]})


def again(request):
    return redirect(request.get_full_path())


urlpatterns = [path("", start), path("login", login, name="login"), path("again", again)]
application = get_wsgi_application()
