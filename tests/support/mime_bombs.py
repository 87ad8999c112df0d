"""Messages that want to cost more than they should: what issue and benchmark name, made and sent."""
import socket
import threading
import time

MANY = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


def bombs():
    return {
        "parts": MANY + b"--b\r\nContent-Type: text/plain; name=x\r\n\r\nx\r\n" * 10000 + b"--b--\r\n",
        "levels": b"MIME-Version: 1.0\r\n" + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000)) + b"\r\nx\r\n",
        "headers": b"".join(b"X-Header-%d: x\r\n" % n for n in range(100000)) + b"\r\nx\r\n",
        "line": b"Subject: x\r\n\r\n" + b"x" * (10 << 20) + b"\r\n",
    }


def send(port, content, measure=None):
    """The reply to the end of the content; the most that `measure` gave meanwhile, or the seconds from its end to the reply's."""
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        stream = sock.makefile("rb")

        def say(line):
            if line:
                sock.sendall(line + b"\r\n")
            while True:
                reply = stream.readline()
                if reply[3:4] != b"-":
                    return reply.decode("latin-1").strip()
        for line in (b"", b"EHLO client.example", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@dest.example>", b"DATA"):
            say(line)
        most, done = [0], threading.Event()

        def watch():
            while not done.is_set():
                most[0] = max(most[0], measure())
                done.wait(0.005)
        watcher = threading.Thread(target=watch) if measure else None
        if watcher:
            watcher.start()
        begin = time.monotonic()
        sock.sendall(content + b".\r\n")
        reply = say(b"")
        took = time.monotonic() - begin
        done.set()
        if watcher:
            watcher.join()
        return reply, (most[0] if measure else took)
