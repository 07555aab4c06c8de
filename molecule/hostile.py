"""Requests that no honest client sends: what a web server lets through of them, and as how many.

Usage: python3 - ADDRESS PORT TARGETS, where TARGETS is JSON: a name, a prefix, and a host for each app. Prints the
answers to each request as JSON.
"""

import concurrent.futures
import json
import re
import socket
import sys

# What a request that is hidden in another one asks for: no app may see it.
HIDDEN = "/smuggled"
SMUGGLED = f"GET PREFIX{HIDDEN} HTTP/1.1\r\nHost: HOST\r\n\r\n"
FORGED = [*(f"X-Forwarded-{name}" for name in ("For", "Host", "Proto", "Port", "Prefix")), "X-Real-IP"]


def get(path="/x", *headers, version=" HTTP/1.1", method="GET"):
    return "\r\n".join([f"{method} PREFIX{path}{version}", "Host: HOST", "Connection: close", *headers, "", ""])


def for_host(host, address="PREFIX/x"):
    return f"GET {address} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


def post(body, *headers):
    """Return a request that leaves the connection open, so that a hidden one can follow."""
    return "\r\n".join(["POST PREFIX/x HTTP/1.1", "Host: HOST", *headers, "", body])


def chunked(body):
    return post(body, "Transfer-Encoding: chunked", "Connection: close")


# No app may see these. The web server closes the connection, so nothing that follows is a request, either.
REFUSED = {
    "both lengths": post(f"0\r\n\r\n{SMUGGLED}", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "both lengths, reversed": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": post(f"hello{SMUGGLED}", "Content-Length: 5", "Content-Length: 6"),
    "the same length twice": post(f"hello{SMUGGLED}", "Content-Length: 5", "Content-Length: 5"),
    "a list of lengths": post(f"hello{SMUGGLED}", "Content-Length: 5, 6"),
    "a list of equal lengths": post(f"hello{SMUGGLED}", "Content-Length: 5, 5"),
    "a length with a sign": post(f"hello{SMUGGLED}", "Content-Length: +5"),
    "a negative length": post(f"hello{SMUGGLED}", "Content-Length: -5"),
    "a hexadecimal length": post(f"hello{SMUGGLED}", "Content-Length: 0x5"),
    "a length of two words": post(f"hello{SMUGGLED}", "Content-Length: 5 5"),
    "a length beyond 64 bits": post(f"hello{SMUGGLED}", "Content-Length: 99999999999999999999999"),
    "a space before the colon of a length": post(f"hello{SMUGGLED}", "Content-Length : 5"),
    "an unknown encoding": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: xchunked"),
    "chunked twice": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: chunked, chunked"),
    "chunked and more": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: chunked, identity"),
    "two encodings": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "identity": post(f"hello{SMUGGLED}", "Content-Length: 5", "Transfer-Encoding: identity"),
    "a control character before chunked": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: \x0bchunked"),
    "a space before the colon of an encoding": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding : chunked"),
    "chunked in HTTP/1.0": post(f"0\r\n\r\n{SMUGGLED}", "Transfer-Encoding: chunked").replace("1.1", "1.0", 1),
    "a chunk of no number": chunked(f"ZZ\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    "a chunk of a negative size": chunked(f"-5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    "a chunk beyond 64 bits": chunked(f"FFFFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    "a chunk with 0x": chunked(f"0x5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    "a chunk longer than said": chunked(f"2\r\nhello\r\n0\r\n\r\n{SMUGGLED}"),
    "no host": "GET PREFIX/x HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": get("/x", "Host: evil.example"),
    "a foreign host": for_host("evil.example"),
    "a host with a user": for_host("HOST@evil.example"),
    "a host with a path": for_host("HOST/evil"),
    "a host with a space": for_host("HOST evil"),
    "a list of hosts": for_host("HOST, evil.example"),
    "a foreign host in the address": for_host("HOST", "http://evil.example/x"),
    "a tunnel": "CONNECT evil.example:80 HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
    "a trace": get(method="TRACE"),
    "a zero in a header": get("/x", "X-Custom: a\x00b"),
    "a zero in the path": get("/a\x00b"),
    "a header without a colon": get("/x", "X-Forwarded-For evil"),
    "a header of 64 KiB": get("/x", "X-Custom: " + "x" * 65536),
    "a path of 64 KiB": get("/" + "x" * 65536),
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the path": get("/a b"),
    "above the root": get("/../../../etc/passwd"),
    "above the root, encoded": get("/%2e%2e/%2e%2e/%2e%2e/etc/passwd"),
}
# Each is one request at most. Where an app sees it, it sees nothing that the client had no right to say.
ONE = {
    "a foreign host beside the address": for_host("evil.example", "http://HOST/x"),
    "version 2 in text": get(version=" HTTP/2.0"),
    "forged headers": get("/x", *(f"{name}: evil" for name in FORGED), "Forwarded: for=evil;host=evil"),
    "forged headers, in small letters": get("/x", *(f"{name.lower()}: evil" for name in FORGED)),
    "forged headers with underscores": get("/x", *(f"{name.replace('-', '_')}: evil" for name in FORGED)),
    "forged headers, twice": get("/x", *(f"{name}: evil" for name in FORGED * 2)),
    "variables of the gateway": get("/x", "SCRIPT_NAME: /evil", "PATH_INFO: /evil", "REMOTE_ADDR: evil"),
    "headers of the hop": get("/x", "Connection: close, Host, X-Forwarded-For, X-Real-IP, X-Forwarded-Proto"),
    "a proxy for the app": get("/x", "Proxy: http://evil.example"),
    "a folded header": get("/x", "X-Other: a\r\n X-Forwarded-For: evil"),
    "a name with a space": get("/x", "X-Forwarded-For : evil"),
    "a carriage return in a header": get("/x", "X-Other: a\rX-Forwarded-For: evil"),
    "a trailer": chunked("5\r\nhello\r\n0\r\nX-Forwarded-For: evil\r\nX-Real-IP: evil\r\n\r\n"),
    "an extension of a chunk": chunked("5;evil=1\r\nhello\r\n0\r\n\r\n"),
    "chunks with line feeds alone": chunked("5\nhello\n0\n\n"),
    "lines with line feeds alone": get().replace("\r\n", "\n"),
    "a length in HTTP/1.0": get("/x", "Content-Length: 0", version=" HTTP/1.0"),
    "version 1.2": get(version=" HTTP/1.2"),
    "version 0.9": "GET PREFIX/x\r\n\r\n",
    "a method in small letters": get(method="get"),
    "an unheard of method": get(method="EVIL"),
    "all resources": "OPTIONS * HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
    "empty lines first": "\r\n\r\n" + get(),
    "another protocol": get("/x", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    "an expectation": get("/x", "Expect: evil"),
    "a hidden request in a body of GET": get("/x", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
    "a hidden request in a body": post(SMUGGLED, f"Content-Length: {len(SMUGGLED)}", "Connection: close"),
    "a hidden request in a chunk": chunked(f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
    "a hidden request in a header": get(f"/x?%0d%0a%0d%0a{HIDDEN}", f"X-Custom: {HIDDEN}"),
    "an encoded zero": get("/a%00b"),
    "an encoded slash": get("%2fx"),
    "double slashes": get("//other.example/x"),
    "dots": get("/./x/../x"),
    "backslashes": get("/..\\..\\x"),
    "bytes of no text": get("/%ff%fe"),
    "a fragment": get("/x#part"),
}
REQUESTS = {**REFUSED, **ONE}
OWN = re.compile(
    "(HTTP_)?(X[-_]FORWARDED[-_].*|X[-_]REAL[-_]IP|FORWARDED|HOST|PROXY|SCRIPT_NAME|SERVER_NAME)"
    "|client|scheme|prefix|server|(?-i:REMOTE_ADDR)",
    re.IGNORECASE,
)
STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


def send(address, port, text, prefix, host):
    """Send a request and end; return the statuses of all answers, and what came after the first one's headers."""
    # The lengths are those of the hidden request as it is sent.
    sized = text.replace(f"Content-Length: {len(SMUGGLED)}", f"Content-Length: {len(fill(SMUGGLED, prefix, host))}")
    sized = sized.replace(f"{len(SMUGGLED):x}\r\nGET", f"{len(fill(SMUGGLED, prefix, host)):x}\r\nGET")
    received = b""
    with socket.create_connection((address, port), 2) as connection:
        try:
            connection.sendall(fill(sized, prefix, host).encode("latin-1"))
            while block := connection.recv(65536):
                received += block
        except (ConnectionError, socket.timeout):
            pass
    statuses = [int(status) for status in STATUS.findall(received)]
    return statuses, received.partition(b"\r\n\r\n")[2].decode("latin-1")


def fill(text, prefix, host):
    return text.replace("PREFIX", prefix).replace("HOST", host)


def ask(address, port, targets):
    """Send every request to every app."""
    asked = [(name, request, prefix, host) for name, prefix, host in targets for request in REQUESTS]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda row: send(address, port, REQUESTS[row[1]], row[2], row[3]), asked)
        return [[name, request, *answer] for (name, request, *_), answer in zip(asked, answers)]


def believed(seen):
    """Return the values that an app saw of those that the web server alone may give it."""
    pairs = [pair for value in seen.values() if isinstance(value, list) for pair in value]
    pairs += [pair for value in (seen, *seen.values()) if isinstance(value, dict) for pair in value.items()]
    return [value for name, value in pairs if OWN.fullmatch(name) and isinstance(value, str)]


def judge(answers):
    """Return what is wrong with the answers; an app says in JSON what it saw."""
    wrong = []
    for name, request, statuses, body in answers:
        if request in REFUSED and [status for status in statuses if status < 400]:
            wrong.append(f"{name}: {request} was let through: {statuses}")
        if [status for status in statuses[:-1] if status < 400] or len(statuses) > 2:
            wrong.append(f"{name}: {request} was several requests: {statuses}")
        if statuses[:1] == [200] and [value for value in believed(json.loads(body or "{}")) if "evil" in value]:
            wrong.append(f"{name}: {request} made the app believe what the client said: {body}")
    return wrong


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))))
