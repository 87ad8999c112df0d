"""A capturing SMTP server on loopback: what Millrace delivers to.  Keeps each transaction exactly as it came
(dots unstuffed, nothing else touched), answers what the test tells it to.  No policy, no store."""
import select
import socket
import ssl
import threading
import time

from instance import free_port, wait_until
from tcp_server import TcpServer


class Message:
    def __init__(self, helo, sender, recipients, content, tls, verb):
        self.helo, self.sender, self.recipients, self.content, self.tls, self.verb = (
            helo, sender, recipients, content, tls, verb)

    def header_bytes(self):
        return split_content(self.content)[0]

    def body(self):
        return split_content(self.content)[1]

    def headers(self):
        """Logical header lines with their folding, in order."""
        return header_list(self.content)


def split_content(content):
    """(header bytes with the CRLF of the last one, body bytes or None without a blank line)."""
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    at = content.find(b"\r\n\r\n")
    return (content, None) if at < 0 else (content[:at + 2], content[at + 4:])


def header_list(content):
    found = []
    for line in split_content(content)[0].split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t") and found:
            found[-1] += b"\r\n" + line
        else:
            found.append(line)
    return found


class NextHop(TcpServer):
    """`replies`: command word (or "." for the end of the content, "connect") -> reply text, or a function of
    (argument) that gives one; "" closes the connection.  They may be changed at any time."""

    EXTENSIONS = ("PIPELINING", "SIZE 0", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")

    def __init__(self, extensions=EXTENSIONS, port=None, tls=None, delay=0):
        self.extensions, self.tls, self.delay = extensions, tls, delay
        self.replies, self.messages, self.lock = {}, [], threading.Lock()
        super().__init__(port)

    def reply_for(self, word, argument, usual):
        found = self.replies.get(word)
        if callable(found):
            found = found(argument)
        return usual if found is None else found

    def serve(self, sock):
        sock.settimeout(60)
        stream, tls = sock.makefile("rwb"), False
        helo = sender = None
        recipients, chunks = [], []

        def say(text):
            if text == "":
                raise ConnectionAbortedError("told to close")
            stream.write(text.encode() + b"\r\n")
            if not select.select([sock], [], [], 0)[0]:
                stream.flush()

        say(self.reply_for("connect", "", "220 next.hop ESMTP"))
        while True:
            stream.flush()
            line = stream.readline()
            if not line:
                return
            text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            word, _, argument = text.partition(" ")
            word = word.upper()
            if word in ("EHLO", "HELO", "LHLO"):
                helo, sender, recipients, chunks = argument, None, [], []
                names = list(self.extensions) + (["STARTTLS"] if self.tls and not tls else [])
                names = ["next.hop"] + (names if word != "HELO" else [])
                usual = "\r\n".join("250%s%s" % ("-" if n != len(names) - 1 else " ", name)
                                    for n, name in enumerate(names))
                say(self.reply_for(word, argument, usual))
            elif word == "STARTTLS":
                say("220 2.0.0 Ready")
                stream.flush()
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.tls)
                stream.detach()
                self.open.discard(sock)
                sock = context.wrap_socket(sock, server_side=True)
                stream, tls = sock.makefile("rwb"), True
            elif word == "MAIL":
                reply = self.reply_for(word, argument, "250 2.1.0 Ok")
                sender, recipients, chunks = argument if reply.startswith("2") else None, [], []
                say(reply)
            elif word == "RCPT":
                reply = self.reply_for(word, argument, "250 2.1.5 Ok" if sender else "503 5.5.1 No sender")
                if reply.startswith("2"):
                    recipients.append(argument)
                say(reply)
            elif word == "DATA":
                reply = self.reply_for(word, argument, "354 Go" if recipients else "554 5.5.1 No recipients")
                say(reply)
                if not reply.startswith("354"):
                    continue
                stream.flush()
                lines = []
                while True:
                    line = stream.readline()
                    if not line:
                        return
                    if line == b".\r\n":
                        break
                    lines.append(line[1:] if line.startswith(b".") else line)
                self.finish(say, Message(helo, sender, recipients, b"".join(lines), tls, "DATA"))
            elif word == "BDAT":
                size = argument.split()
                data = stream.read(int(size[0]))
                chunks.append(data)
                if size[-1].upper() == "LAST":
                    self.finish(say, Message(helo, sender, recipients, b"".join(chunks), tls, "BDAT"))
                else:
                    say("250 2.0.0 Ok")
            elif word in ("RSET", "NOOP"):
                say(self.reply_for(word, argument, "250 2.0.0 Ok"))
            elif word == "QUIT":
                say("221 2.0.0 Bye")
                stream.flush()
                return
            else:
                say("502 5.5.2 Unknown command")

    def finish(self, say, message):
        if self.delay:
            time.sleep(self.delay)
        reply = self.reply_for(".", message, "250 2.0.0 Ok: queued as NEXTHOP")
        if reply.startswith("2"):
            with self.lock:
                self.messages.append(message)
        say(reply)

    def wait(self, count, seconds=20, what="messages at the next hop"):
        wait_until(lambda: len(self.messages) >= count, seconds, "%d %s, came %s" % (count, what, ""))
        return self.messages

    def clear(self):
        with self.lock:
            self.messages = []


class Recorder:
    """A TCP relay in front of Millrace that keeps what clients say, so that a test can know byte for byte what
    a tool with headers of its own choosing sent."""

    def __init__(self, target):
        self.target, self.port, self.streams = target, free_port(), []
        self.pairs, self.done, self.lock = {}, set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            record = bytearray()
            self.streams.append(record)
            up = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.update({sock: up, up: sock})
            threading.Thread(target=self.pump, args=(sock, up, record), daemon=True).start()
            threading.Thread(target=self.pump, args=(up, sock, None), daemon=True).start()

    def ended(self, sock):
        """Closes both ends of a relay when both directions are done."""
        with self.lock:
            peer = self.pairs[sock]
            self.done.add(sock)
            if peer in self.done:
                sock.close()
                peer.close()

    def pump(self, source, target, record):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if record is not None:
                    record += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            self.ended(source)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def contents(self):
        """The content of every message that clients sent with DATA or BDAT, dots unstuffed."""
        found = []
        for record in self.streams:
            stream, chunks = bytes(record), []
            while stream:
                line, _, stream = stream.partition(b"\n")
                word = line.rstrip(b"\r").split(b" ")
                if word[0].upper() == b"DATA":
                    if stream.startswith(b".\r\n"):
                        content, stream = b"", stream[3:]
                    else:
                        content, _, stream = stream.partition(b"\r\n.\r\n")
                        content = (b"\n" + content + b"\r\n").replace(b"\n.", b"\n")[1:]
                    found.append(content)
                elif word[0].upper() == b"BDAT":
                    chunks.append(stream[:int(word[1])])
                    stream = stream[int(word[1]):]
                    if word[-1].upper() == b"LAST":
                        found.append(b"".join(chunks))
                        chunks = []
        return found
