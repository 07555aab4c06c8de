"""CherryPy without its own server, below whatever prefix the site has."""

import cherrypy


class Notes:
    """One page."""

    @cherrypy.expose
    def index(self):
        """Say where the app is."""
        return f"notes at {cherrypy.url('/')}\n"


application = cherrypy.Application(Notes(), script_name=None)
