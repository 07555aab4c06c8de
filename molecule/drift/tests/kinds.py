"""The drift matrix: each kind of drift, how to make it on a host, and what a run is expected to make of it."""

import re
from dataclasses import dataclass

REPAIRED = "repaired"
REFUSED = "refused"
UNSEEN = "unseen"
FAMILIES = ("debian", "centos")
# For every script: the live release of the app, and its program.
PRELUDE = """
set -eu
CTL=/opt/baremetal/bin/supervisorctl CONF=/etc/supervisord/conf.d PAGES=/usr/local/share/nginx
UNITS=/etc/systemd/system SITES=/etc/nginx/conf.d DOOR=baremetal-web-nginx-sites-wsgi
if [ "$APP" ]; then
    H=/srv/wsgi/$APP
    [ "${ID:-}" ] || ID=$(basename "$(readlink "$H/current")")
    R=$H/releases/$ID P=$APP-$ID
fi
"""


@dataclass(frozen=True)
class Kind:
    """One kind of drift; scripts are the shell's, and root runs them."""

    name: str
    # Kinds of a batch are independent: neither the repair nor the detection of one is that of another.
    batch: int
    make: str
    # Each app is drifted in one way at a time.
    app: str = ""
    # The part of a host's state that it changes, as a regular expression; an app's kinds change what has its name.
    where: str = ""
    # Without a run: the paths that are put back as they were, and what else has to be done then.
    keeps: str = ""
    undo: str = ""
    expected: str = REPAIRED
    # A word of the message where it is refused; where nobody sees it, the reason.
    says: str = ""
    families: tuple[str, ...] = FAMILIES
    # What may be different after the repair.
    renewed: str = ""

    @property
    def id(self) -> str:
        """Return its name as one word."""
        return re.sub(r"\W+", "-", f"{self.app} {self.name}" if self.app else self.name).strip("-")

    @property
    def pattern(self) -> str:
        """Return which parts of a state are its own."""
        if not self.app:
            return self.where
        return (
            rf".*/srv/wsgi/{self.app}(/.*)?|(programs|files|texts) (.*/)?{self.app}-.*"
            rf"|(answers|secrets|slots|links) {self.app}\b.*"
        )


def of_host(name: str, batch: int, where: str, make: str, **more: object) -> Kind:
    """Describe a drift of what all apps of a host share."""
    return Kind(name, batch, make, where=where, **more)  # type: ignore[arg-type]


def of_app(app: str, name: str, batch: int, make: str, **more: object) -> Kind:
    """Describe a drift of one app."""
    return Kind(name, batch, make, app=app, **more)  # type: ignore[arg-type]


def by_family(debian: str, centos: str) -> str:
    """Return a script that does another thing on each family, and prints nothing."""
    return f'if [ "$FAMILY" = debian ]; then {debian}; else {centos}; fi >/dev/null 2>&1'


# Lets a program be FATAL at once; its file is as it was.
FATAL = """
cp -p $CONF/$NAME.conf /root/drift/$NAME.conf
sed -i 's/^startretries.*/startretries = 0/; s/^command = .*/command = \\/bin\\/false/' $CONF/$NAME.conf
$CTL update $NAME >/dev/null
for _ in $(seq 100); do if $CTL status $NAME | grep -q FATAL; then break; fi; sleep 0.1; done
$CTL status $NAME | grep -q FATAL
mv /root/drift/$NAME.conf $CONF/$NAME.conf
"""
# A server that has not read a file since it was put there is a drift of its own.
RELOADED = "nginx -s reload 2>/dev/null; sleep 0.5"
BACKGROUND = (
    "$CTL reread >/dev/null; $CTL update $P.idle >/dev/null; $CTL start $P.idle >/dev/null 2>&1 || true; "
    "$CTL status $P.idle | grep -q RUNNING"
)
CURRENT = "ln -sfn releases/$ID $H/current"
SOCKETS_GROUP = 'chgrp "$(stat --format %g $H/run)" $H/sockets'
# Waits until every program runs.
SETTLED = """
for _ in $(seq 300); do if ! $CTL status | grep -qE ' (STARTING|BACKOFF) '; then break; fi; sleep 0.1; done
"""
STARTED = "$CTL reread >/dev/null; $CTL update $P >/dev/null; $CTL start $P >/dev/null || true"
WAIT = "for _ in $(seq 100); do if [ -S $H/sockets/$ID.sock ]; then break; fi; sleep 0.1; done"
# A lock that another controller holds for ever.
LOCKED = """printf '{"run": "another", "by": "another", "since": 0, "expires": 0, "message": "drift"}' > $H/lock.json"""
TOOLS = "/opt/baremetal"

KINDS = (
    # Files that all apps share. supervisord starts anew for some of them, so no app drifts in this batch.
    of_host(
        "nginx.conf is changed",
        1,
        r"files /etc/nginx/nginx\.conf",
        "echo '# drift' >> /etc/nginx/nginx.conf",
        undo=RELOADED,
        keeps="/etc/nginx/nginx.conf",
    ),
    of_host(
        "a site is removed",
        1,
        r"files /etc/nginx/conf\.d/wsgi-8087-.*|ports (.*:)8087|answers port .*",
        "rm $SITES/wsgi-8087-*.conf",
        undo=RELOADED,
        keeps="$SITES/wsgi-8087-*.conf",
    ),
    of_host(
        "an error page of a site is changed",
        1,
        r"files /usr/local/share/nginx/wsgi-8086-.*",
        "sed -i s/nothing/something/ $PAGES/wsgi-8086-*@404.html",
        keeps="$PAGES/wsgi-8086-*@404.html",
    ),
    of_host(
        "the page of nginx is removed",
        1,
        r"files /usr/local/share/nginx/50x\.html",
        "rm $PAGES/50x.html",
        keeps="$PAGES/50x.html",
    ),
    of_host(
        "the drop-in of nginx is removed",
        1,
        r"files /etc/systemd/system/nginx\.service\.d/baremetal-web\.conf",
        "rm $UNITS/nginx.service.d/baremetal-web.conf; systemctl daemon-reload",
        undo="systemctl daemon-reload",
        keeps="$UNITS/nginx.service.d/baremetal-web.conf",
    ),
    of_host(
        "a drop-in of others is added",
        1,
        r"files /etc/systemd/system/nginx\.service\.d/other\.conf",
        "printf '[Service]\\nNice=1\\n' > $UNITS/nginx.service.d/other.conf; systemctl daemon-reload",
        undo="rm $UNITS/nginx.service.d/other.conf; systemctl daemon-reload",
        expected=UNSEEN,
        says="operators add settings by drop-ins of their own",
    ),
    of_host(
        "a site of ours is left over",
        1,
        r"files /etc/nginx/conf\.d/wsgi-9999-old\.conf",
        "echo '# drift' > $SITES/wsgi-9999-old.conf; python3 -c '"
        'import json; path = "/var/lib/baremetal.web/changes.json"; notes = json.load(open(path)); '
        'notes["file"]["/etc/nginx/conf.d/wsgi-9999-old.conf"] = None; json.dump(notes, open(path, "w"))\'',
        keeps="/var/lib/baremetal.web/changes.json",
        undo="rm -f $SITES/wsgi-9999-old.conf",
    ),
    of_host(
        "a site of others is added",
        1,
        r"files /etc/nginx/conf\.d/other\.conf",
        "echo '# drift' > $SITES/other.conf",
        undo="rm $SITES/other.conf",
        expected=UNSEEN,
        says="a site that this collection has not written belongs to others",
    ),
    of_host(
        "the file of supervisord's group has another owner",
        1,
        r"files /etc/sysusers\.d/baremetal-supervisor\.conf",
        "chown nobody /etc/sysusers.d/baremetal-supervisor.conf",
        keeps="/etc/sysusers.d/baremetal-supervisor.conf",
    ),
    of_host(
        "the file of the apps' accounts is changed",
        1,
        r"files /etc/sysusers\.d/baremetal-web\.conf",
        "echo '# drift' >> /etc/sysusers.d/baremetal-web.conf",
        keeps="/etc/sysusers.d/baremetal-web.conf",
    ),
    of_host(
        "the file of temporary directories is removed",
        1,
        r"files /etc/tmpfiles\.d/baremetal-web\.conf",
        "rm /etc/tmpfiles.d/baremetal-web.conf",
        keeps="/etc/tmpfiles.d/baremetal-web.conf",
    ),
    of_host(
        "app-run is changed",
        1,
        r"files /usr/local/bin/app-run",
        "echo '# drift' >> /usr/local/bin/app-run",
        keeps="/usr/local/bin/app-run",
    ),
    of_host(
        "a profile is a link",
        1,
        r"files /etc/profile\.d/baremetal-web\.sh",
        "ln -sf /dev/null /etc/profile.d/baremetal-web.sh",
        keeps="/etc/profile.d/baremetal-web.sh",
    ),
    of_host(
        "a profile has another mode",
        1,
        r"files /etc/profile\.d/baremetal-web-apps\.sh",
        "chmod 600 /etc/profile.d/baremetal-web-apps.sh",
        keeps="/etc/profile.d/baremetal-web-apps.sh",
    ),
    of_host(
        "supervisord's configuration is changed",
        1,
        r"files /etc/supervisord/supervisord\.conf",
        "echo '; drift' >> /etc/supervisord/supervisord.conf",
        keeps="/etc/supervisord/supervisord.conf",
    ),
    of_host(
        "supervisorctl's configuration is removed",
        1,
        r"files /opt/baremetal/etc/supervisord\.conf|programs .*|secrets .*",
        f"rm {TOOLS}/etc/supervisord.conf",
        keeps="/opt/baremetal/etc/supervisord.conf",
    ),
    of_host(
        "the launcher is changed",
        1,
        r"files /opt/baremetal/libexec/launch\.py",
        f"echo '# drift' >> {TOOLS}/libexec/launch.py",
        keeps="/opt/baremetal/libexec/launch.py",
    ),
    of_host(
        "the unit of supervisord is changed",
        1,
        r"files /etc/systemd/system/supervisord-baremetal\.service",
        "echo '# drift' >> $UNITS/supervisord-baremetal.service; systemctl daemon-reload",
        undo="systemctl daemon-reload",
        keeps="$UNITS/supervisord-baremetal.service",
    ),
    of_host(
        "supervisord is disabled",
        1,
        r"(units|states) supervisord-baremetal\.service|files /etc/systemd/system/.*/supervisord-baremetal\.service",
        "systemctl disable --quiet supervisord-baremetal",
        undo="systemctl enable --quiet supervisord-baremetal",
    ),
    of_host(
        "the directory of programs is open",
        1,
        r"files /etc/supervisord/conf\.d",
        "chmod 755 $CONF",
        undo="chmod 700 $CONF",
    ),
    of_host(
        "the directory of logs is closed",
        1,
        r"logs supervisord",
        "chmod 700 /var/log/supervisord",
        undo="chmod 750 /var/log/supervisord",
    ),
    of_host(
        "the file of the web password is open",
        1,
        r"files /etc/supervisord/web-password",
        "chmod 644 /etc/supervisord/web-password",
        keeps="/etc/supervisord/web-password",
    ),
    of_host(
        "the default site comes back",
        1,
        r"files /etc/nginx/sites-enabled/default",
        "ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default",
        undo="rm -f /etc/nginx/sites-enabled/default",
        families=("debian",),
    ),
    of_host(
        "a package of Python is removed",
        1,
        r"packages python3.*|files /(usr/(lib|share|bin)|var/lib/dpkg)/.*",
        by_family("dpkg --purge --force-depends python3-venv", "rpm --erase --nodeps python3.12-pip"),
        undo=by_family("apt-get install --yes python3-venv", "dnf --assumeyes install python3.12-pip"),
    ),
    of_host(
        "a package of the tool environment is removed",
        1,
        r"files /opt/baremetal/lib/python[0-9.]+/site-packages/supervisor/.*",
        f"rm {TOOLS}/lib/python3*/site-packages/supervisor/rpcinterface.py",
        keeps="/opt/baremetal/lib/python3*/site-packages/supervisor/rpcinterface.py",
    ),
    of_host(
        "uv is removed",
        1,
        r"files /opt/baremetal/bin/uv",
        f"rm {TOOLS}/bin/uv",
        keeps="/opt/baremetal/bin/uv",
    ),
    of_host(
        "the firewall closes the ports of the sites",
        1,
        r"doors 808[67]",
        by_family(
            "ufw delete allow $DOOR",
            "firewall-cmd --remove-service=$DOOR; firewall-cmd --permanent --remove-service=$DOOR",
        ),
        undo=by_family(
            "ufw allow $DOOR",
            "firewall-cmd --add-service=$DOOR; firewall-cmd --permanent --add-service=$DOOR",
        ),
    ),
    of_host(
        "the time zone is another one",
        1,
        r"files /etc/localtime",
        "ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
        keeps="/etc/localtime",
        expected=UNSEEN,
        says="this collection sets no time zone",
    ),
    # The services themselves, and what supervisord needs.
    of_host(
        "supervisord is stopped",
        2,
        r"(states|running) supervisord-baremetal\.service|programs .*|answers .*|secrets .*|ports .*:(9001|700.)"
        r"|files /srv/wsgi/\w+/sockets/.*",
        "systemctl stop supervisord-baremetal",
        undo="systemctl start supervisord-baremetal; " + SETTLED,
    ),
    of_host(
        "the web password is removed",
        2,
        r"files /etc/supervisord/web-password",
        "rm /etc/supervisord/web-password",
        keeps="/etc/supervisord/web-password",
        renewed=r"files /etc/supervisord/(web-password|supervisord\.conf)",
    ),
    of_host(
        "the group of operators is removed",
        2,
        r"groups supervisor",
        "cp -p /etc/group /etc/gshadow /root/drift; groupdel supervisor",
        undo="cp -p /root/drift/group /root/drift/gshadow /etc",
        renewed=r"logs supervisord",
    ),
    of_host(
        "the Python of the tool environment is removed",
        2,
        r"files /opt/baremetal/bin/python.*|programs .*|secrets .*",
        f"rm {TOOLS}/bin/python",
        keeps="/opt/baremetal/bin/python",
    ),
    of_host(
        "nginx is removed",
        2,
        r"packages nginx.*|(states|running|units) nginx\.service|answers .*|ports (.*:)(80|808[67])"
        r"|files /(usr|var/lib|etc)/.*nginx.*|files /etc/(init\.d|rc.\.d|default|logrotate\.d|ufw)/.*",
        by_family("dpkg --remove --force-depends nginx", "rpm --erase --nodeps nginx-core nginx")
        + "; systemctl daemon-reload",
        undo=by_family(
            "apt-get install --yes nginx",
            "dnf --assumeyes install nginx; mv /etc/nginx/nginx.conf.rpmsave /etc/nginx/nginx.conf",
        )
        + "; systemctl enable --quiet nginx; systemctl restart nginx",
        renewed=r"files /etc/nginx/nginx\.conf\.rpmsave",
    ),
    of_host(
        "the shell and the home of an account are others",
        2,
        r"users wsgi-one",
        "sed -i 's,^\\(wsgi-one:.*\\):/:/usr/sbin/nologin$,\\1:/tmp:/bin/sh,' /etc/passwd",
        keeps="/etc/passwd",
        expected=UNSEEN,
        says="systemd-sysusers makes accounts, and changes none",
    ),
    of_host(
        "an account is in the group of an app",
        2,
        r"groups wsgi-one",
        "sed -i 's/^\\(wsgi-one:x:[0-9]*:\\)$/\\1nobody/' /etc/group",
        keeps="/etc/group",
        expected=UNSEEN,
        says="operators may let other accounts read what an app's group may read",
    ),
    # The apps, and nginx in front of them.
    of_host(
        "nginx is stopped",
        3,
        r"(states|running) nginx\.service|ports (.*:)808[67]",
        "systemctl stop nginx",
        undo="systemctl start nginx",
    ),
    of_host(
        "a program of others is added to supervisord",
        3,
        r"(files|texts) /etc/supervisord/conf\.d/other\.conf",
        "printf '[program:other]\\ncommand = /bin/true\\nautostart = false\\n' > $CONF/other.conf",
        undo="rm $CONF/other.conf; $CTL reread >/dev/null; $CTL remove other >/dev/null || true",
        expected=UNSEEN,
        says="a program that this collection has not written belongs to others",
    ),
    of_app("one", "its program is stopped", 3, "$CTL stop $P >/dev/null", undo="$CTL start $P >/dev/null"),
    of_app("two", "its background program is stopped", 3, "$CTL stop $P.idle >/dev/null", undo=f"{BACKGROUND}"),
    of_app(
        "three",
        "its background program is not in supervisord",
        3,
        "$CTL stop $P.idle >/dev/null; $CTL remove $P.idle >/dev/null",
        undo=BACKGROUND,
    ),
    of_app(
        "four",
        "its program is not in supervisord",
        3,
        "$CTL stop $P >/dev/null; $CTL remove $P >/dev/null",
        undo=STARTED,
    ),
    of_app("five", "current leads elsewhere", 3, "ln -sfn releases/000000000000 $H/current", undo=CURRENT),
    of_app(
        "six",
        "the marker of slot b is not as its slots are",
        3,
        "if [ -e $H/slots/b ]; then rm $H/slots/b; else touch $H/slots/b; fi",
        keeps="$H/slots",
    ),
    of_app(
        "seven",
        "its socket is removed",
        3,
        "rm $H/sockets/$ID.sock",
        undo=f"$CTL restart $P >/dev/null; {WAIT}",
    ),
    of_app(
        "eight",
        "the directory of its sockets is closed",
        3,
        "chmod 700 $H/sockets",
        undo="chmod 711 $H/sockets",
    ),
    of_app(
        "nine",
        "its environment is changed",
        3,
        "sed -i 's/not to be changed/changed/' $R/environment",
        keeps="$R/environment",
    ),
    of_app("port", "its program is stopped", 3, "$CTL stop $P >/dev/null", undo="$CTL start $P >/dev/null"),
    of_host(
        "nginx is disabled",
        4,
        r"(states|units) nginx\.service|files /etc/systemd/system/.*/nginx\.service|files /etc/rc.*nginx",
        "systemctl disable --quiet nginx 2>/dev/null",
        undo="systemctl enable --quiet nginx 2>/dev/null",
    ),
    of_app(
        "one",
        "the file of its program is changed",
        4,
        "sed -i 's/^stopwaitsecs.*/stopwaitsecs = 1/' $CONF/$P.conf",
        keeps="$CONF/$P.conf",
    ),
    of_app(
        "two",
        "the file of its background program is changed",
        4,
        "sed -i 's/^stopwaitsecs.*/stopwaitsecs = 1/' $CONF/$P.idle.conf",
        keeps="$CONF/$P.idle.conf",
    ),
    of_app(
        "three",
        "the file of its background program is removed",
        4,
        "rm $CONF/$P.idle.conf",
        keeps="$CONF/$P.idle.conf",
    ),
    of_app(
        "four",
        "the file of its program is removed",
        4,
        "rm $CONF/$P.conf",
        keeps="$CONF/$P.conf",
    ),
    of_app("five", "current.sock is removed", 4, "rm $H/current.sock", keeps="$H/current.sock"),
    of_app("six", "its slot leads nowhere", 4, "rm $H/slots/?.sock", keeps="$H/slots"),
    of_app(
        "seven",
        "its socket is closed to nginx",
        4,
        "chmod 600 $H/sockets/$ID.sock",
        undo="chmod 660 $H/sockets/$ID.sock",
    ),
    of_app(
        "eight",
        "another controller has its lock, and there is nothing to do",
        4,
        LOCKED,
        undo="rm -f $H/lock.json",
        expected=UNSEEN,
        says="a run that has nothing to do for an app needs no lock",
    ),
    of_app(
        "nine",
        "its environment is closed to it",
        4,
        "chown root:root $R/environment",
        keeps="$R/environment",
    ),
    of_app(
        "port",
        "the Python of its release is removed",
        4,
        "rm $R/venv/bin/python",
        keeps="$R/venv/bin/python",
    ),
    of_host(
        "nginx runs with an older configuration",
        5,
        r"answers port .*",
        "cp -p $SITES/wsgi-8087-*.conf /root/drift/site; "
        "sed -i 's/^\\( *\\)location /\\1return 418;\\n&/' $SITES/wsgi-8087-*.conf; nginx -s reload 2>/dev/null; "
        "sleep 1; "
        "cp -p /root/drift/site $SITES/wsgi-8087-*.conf",
        undo=RELOADED,
    ),
    of_app("one", "its program is FATAL", 5, f"NAME=$P; {FATAL}", undo=STARTED),
    of_app("two", "its background program is FATAL", 5, f"NAME=$P.idle; {FATAL}", undo=BACKGROUND),
    of_app("three", "its home is closed to nginx", 5, "chmod 700 $H", undo="chmod 751 $H"),
    of_app("four", "the directory of its slots is closed", 5, "chmod 700 $H/slots", undo="chmod 755 $H/slots"),
    of_app("five", "its release is closed to it", 5, "chown root:root $R", undo="chown root:wsgi-$APP $R"),
    of_app(
        "six",
        "the manifest of its release is removed",
        5,
        "rm $R/release.json",
        keeps="$R/release.json",
    ),
    of_app(
        "seven",
        "its code is changed",
        5,
        "echo '# drift' >> $R/app/stamped.py",
        expected=UNSEEN,
        says="hooks may change the code of a release, so nobody knows how it has to be",
        keeps="$R/app/stamped.py",
    ),
    of_app(
        "eight",
        "another controller has its lock, and its program is stopped",
        5,
        f"{LOCKED} && $CTL stop $P >/dev/null",
        undo="rm -f $H/lock.json; $CTL start $P >/dev/null",
        expected=REFUSED,
        says="The app is locked by another",
    ),
    of_app(
        "nine",
        "the note of its endpoints is removed",
        5,
        "rm $H/endpoints.json",
        expected=UNSEEN,
        says="without a note, the web server is configured as the live release is reached",
        keeps="$H/endpoints.json",
    ),
    of_app(
        "port",
        "its port is taken, and its program is stopped",
        5,
        "$CTL stop $P >/dev/null; systemd-run --quiet --unit=drift-port "
        "python3 -m http.server --bind 127.0.0.1 $(grep -o 'APP_SOCKET=[0-9.:]*' $CONF/$P.conf | cut -d: -f2)",
        undo="systemctl stop drift-port; $CTL start $P >/dev/null",
        expected=REFUSED,
        says="is held by",
    ),
    of_app("one", "its sockets are of another group", 6, "chgrp root $H/sockets", undo=SOCKETS_GROUP),
    of_app("two", "the directory of its releases is closed", 6, "chmod 700 $H/releases", undo="chmod 755 $H/releases"),
    of_app(
        "three",
        "a program of a release that is gone is left over",
        6,
        'sed "s/$ID/000000000000/g;s/autostart = true/autostart = false/" $CONF/$P.conf > $CONF/$APP-000000000000.conf',
        undo="rm -f $CONF/$APP-000000000000.conf; $CTL reread >/dev/null; "
        "$CTL remove $APP-000000000000 >/dev/null || true",
    ),
    of_app("four", "its directory run is removed", 6, "rmdir $H/run", keeps="$H/run"),
    of_app(
        "five",
        "its launcher is removed",
        6,
        "rm -r $R/server/baremetal_web",
        keeps="$R/server/baremetal_web",
    ),
    of_app(
        "seven",
        "a package of its release is removed",
        6,
        "rm -r $R/venv/lib/python3*/site-packages/gunicorn",
        expected=UNSEEN,
        says="a release may have thousands of files of packages, and what runs has read them",
        keeps="$R/venv/lib/python3*/site-packages/gunicorn",
    ),
    of_app("eight", "its data belong to another account", 6, "chown wsgi-nine $H/data", undo="chown wsgi-$APP $H/data"),
    of_app("nine", "its data are open to others", 6, "chmod 755 $H/data", undo="chmod 700 $H/data"),
    of_app(
        "port",
        "its program is not in supervisord",
        6,
        "$CTL stop $P >/dev/null; $CTL remove $P >/dev/null",
        undo=STARTED,
    ),
    # These end a run early, so each is the only one that does.
    of_host(
        "nginx is masked",
        7,
        r"(states|units) nginx\.service|files /etc/systemd/system/nginx\.service",
        "systemctl mask --quiet nginx",
        undo="systemctl unmask --quiet nginx; systemctl enable --quiet nginx",
        expected=REFUSED,
        says="masked",
    ),
    of_host(
        "the change record is lost",
        7,
        r"record .*",
        "rm /var/lib/baremetal.web/changes.json",
        keeps="/var/lib/baremetal.web/changes.json",
        expected=UNSEEN,
        says="nobody knows any more what was there before this collection came",
    ),
)
