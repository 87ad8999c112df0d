#!/usr/bin/python3
"""The milter client against real filters: OpenDKIM signing and verifying, over unix and inet sockets, and
a filter built on libmilter.  usage: run.py DRIVER PEER"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

DRIVER, PEER = sys.argv[1:3]
MESSAGE = (b"From: A <a@x.example>\r\nTo: b@y.example\r\nSubject: hello\r\nX-Folded: one\r\n\ttwo\r\n"
           b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-Id: <1@x.example>\r\n\r\nline one\r\n.dot\r\n\r\n")
children = []


def check(what, truth, more=""):
    if not truth:
        raise SystemExit("FAILED: %s\n%s" % (what, more))
    print("ok: " + what)


def drive(service, message=MESSAGE, sender="a@x.example", recipients=("b@y.example",)):
    done = subprocess.run([DRIVER, service, sender, *recipients], input=message, capture_output=True, timeout=30)
    return done.stdout, done.stderr.decode("utf-8", "replace")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(path_or_port):
    for _ in range(200):
        try:
            if isinstance(path_or_port, int):
                socket.create_connection(("127.0.0.1", path_or_port), 1).close()
            else:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path_or_port)
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("FAILED: filter does not listen on %s" % path_or_port)


def start(*command):
    children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))


def opendkim(directory, name, listen, lines):
    path = os.path.join(directory, name + ".conf")
    with open(path, "w") as conf:
        conf.write("Syslog no\nBackground no\nAutoRestart no\nRequireSafeKeys no\nSocket %s\nPidFile %s/%s.pid\n%s"
                   % (listen, directory, name, lines))
    start("opendkim", "-f", "-x", path)


def test_opendkim(directory):
    import dkim
    key = os.path.join(directory, "key")
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "PEM"], check=True,
                            capture_output=True).stdout.decode()
    record = "v=DKIM1; k=rsa; p=" + "".join(public.split("\n")[1:-2])
    keys = os.path.join(directory, "keys")
    with open(keys, "w") as out:
        out.write("sel._domainkey.x.example %s\n" % record)
    sign = "Mode s\nDomain x.example\nSelector sel\nKeyFile %s\nInternalHosts 0.0.0.0/0\n" % key
    port = free_port()
    opendkim(directory, "sign", "inet:%d@127.0.0.1" % port, sign)
    path = os.path.join(directory, "verify.sock")
    opendkim(directory, "verify", "local:" + path, "Mode v\nTestPublicKeys %s\nAuthservID mx.example\n" % keys)
    wait_for(port)
    wait_for(path)

    signed, said = drive("inet:localhost:%d" % port)
    check("OpenDKIM signs (inet, by name)", b"DKIM-Signature:" in signed and "verdict continue" in said, said)
    # OpenDKIM puts it at index 0 or 1; what stands below is the message.
    check("OpenDKIM leaves the rest alone", signed.endswith(MESSAGE), signed)
    answer = lambda name, timeout=5: record.encode()
    check("dkimpy verifies the signature", dkim.verify(signed, dnsfunc=answer), signed)
    body = b"x" * 70 + b"\r\n"
    large = MESSAGE + body * 20000
    signed_large, _ = drive("inet:127.0.0.1:%d" % port, large)
    check("and that of a large message", signed_large.endswith(large) and dkim.verify(signed_large, dnsfunc=answer))
    # A comma between the two: what the first adds, the second sees.
    both, said = drive("inet:127.0.0.1:%d, unix:%s" % (port, path))
    check("OpenDKIM verifies what it signed one filter before (unix)", b"dkim=pass" in both and "verdict continue" in said,
          both.decode("latin-1") + said)
    forged, _ = drive("unix:" + path, signed.replace(b"hello", b"Hullo"))
    check("OpenDKIM sees a change", b"dkim=fail" in forged and b"dkim=pass" not in forged, forged.decode("latin-1"))


def test_libmilter(directory):
    path = os.path.join(directory, "peer.sock")
    start(PEER, "unix:" + path)
    wait_for(path)
    service = "unix:" + path
    out, said = drive(service)
    check("libmilter: what arrived", b"X-Seen: connect client.example helo client.example rcpt <b@y.example> "
          b"From= A <a@x.example> To= b@y.example Subject= hello X-Folded= one\r\n\ttwo Date=" in out, out)
    check("libmilter: body and macros", b"X-Body: 18 in 1\r\nX-Macros: mx.example 4ABCDEF123\r\n" in out, out)
    large = MESSAGE + b"y" * 150000 + b"\r\n"
    out, said = drive(service, large)
    check("libmilter: a large body in pieces", b"X-Body: 150020 in 3\r\n" in out, said)
    out, said = drive(service, large, "skip@x.example")
    check("libmilter: skip", b"X-Body: 65535 in 1\r\n" in out, said)
    out, said = drive(service, sender="reject@x.example")
    check("libmilter: multi-line reply", "verdict reject 554 5.7.9 first 100%\nsecond" in said, said)
    out, said = drive(service, sender="discard@x.example")
    check("libmilter: discard", "verdict discard" in said, said)
    out, said = drive(service, sender="quarantine@x.example")
    check("libmilter: quarantine", "verdict quarantine 0  suspect" in said, said)
    out, said = drive("{%s, content_timeout=1s}" % service, sender="slow@x.example")
    check("libmilter: progress", b"X-Body" in out, said)
    out, said = drive(service, MESSAGE.replace(b"Date", b"X-Gone: 1\r\nDate"), "edit@x.example", ("b@y.example", "c@y.example"))
    check("libmilter: edits", out.startswith(b"X-Top: top\r\nFrom:") and b"Subject: changed\r\n" in out and
          b"X-Gone" not in out and out.endswith(b"\r\n\r\n" + b"z" * 200000 + b"\r\n") and
          "sender new@x.example\nrecipient c@y.example\nrecipient extra@x.example\n" in said, out[:600] + said.encode())


def main():
    directory = tempfile.mkdtemp(prefix="milter")
    try:
        test_libmilter(directory)
        if not shutil.which("opendkim"):
            print("opendkim is not installed")
            return 77
        test_opendkim(directory)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


sys.exit(main())
