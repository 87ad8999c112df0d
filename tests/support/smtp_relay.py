#!/usr/bin/python3
"""A content filter: takes mail by SMTP or LMTP, puts a header on top and gives it back by SMTP, XFORWARD values
included.  Started as a program or used as a class; keeps nothing."""
import socket
import sys
import threading
import time

from tcp_server import TcpServer


class Relay(TcpServer):
    def __init__(self, port, back_to, header=b"X-Scanned: yes", lmtp=False, hold=0.0):
        """`hold`: seconds a message is looked at."""
        self.back_to, self.header, self.lmtp, self.hold = back_to, header, lmtp, hold
        self.now = self.most = 0
        self.xforward, self.lock = [], threading.Lock()
        super().__init__(port)

    def serve(self, sock):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.converse(sock.makefile("rwb"))
        finally:
            with self.lock:
                self.now -= 1

    def converse(self, stream):
        def say(text):
            stream.write(text.encode() + b"\r\n")
            stream.flush()
        say("220 filter.example ready")
        commands, recipients = [], 0
        for line in stream:
            word = line[:4].upper()
            if word in (b"EHLO", b"LHLO"):
                say("250-filter.example\r\n250-8BITMIME\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
            elif word == b"XFOR":
                self.xforward.append(line.strip().decode())
                commands.append(line)
                say("250 Ok")
            elif word in (b"MAIL", b"RCPT"):
                recipients = 0 if word == b"MAIL" else recipients + 1
                commands.append(line)
                say("250 Ok")
            elif word == b"DATA":
                say("354 Go")
                content = []
                for row in stream:
                    if row == b".\r\n":
                        break
                    content.append(row)
                time.sleep(self.hold)
                reply = self.give_back(commands, content)
                for _ in range(recipients if self.lmtp else 1):
                    say(reply)
                commands = []
            elif word == b"QUIT":
                say("221 Bye")
                return
            else:
                commands = []
                say("250 Ok")

    def give_back(self, commands, content):
        with socket.create_connection(("127.0.0.1", self.back_to), 30) as sock:
            stream = sock.makefile("rwb")

            def ask(line):
                stream.write(line)
                stream.flush()
                while True:
                    reply = stream.readline()
                    if reply[3:4] != b"-":
                        return reply.strip().decode()
            reply = stream.readline().decode()
            for line in [b"EHLO filter.example\r\n"] + commands + [b"DATA\r\n"]:
                reply = ask(line)
                if reply[0] not in "23":
                    return reply
            reply = ask(self.header + b"\r\n" + b"".join(content) + b".\r\n")
            stream.write(b"QUIT\r\n")
            stream.flush()
            return reply


if __name__ == "__main__":
    Relay(int(sys.argv[1]), int(sys.argv[2]))
    threading.Event().wait()
