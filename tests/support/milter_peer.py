"""A milter for tests: one thread a connection, answers by event as it is told, keeps what it saw."""
import os
import select
import socket
import struct
import threading


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


CONTINUE = packet(b"c")


class MilterPeer:
    """`answer(event, data, number of the connection)` gives bytes, or None to close.  Options packets and those
    without an answer are not asked about."""

    def __init__(self, work, answer=None, name="milter", actions=0x1ff, protocol=0):
        self.path = os.path.join(work, name + ".sock")
        self.answer = answer or (lambda event, data, number: CONTINUE)
        self.options = struct.pack(">III", 6, actions, protocol)
        self.events, self.connections, self.open, self.most_open = [], 0, 0, 0
        self.lock, self.socks = threading.Lock(), []
        self.up()

    @property
    def service(self):
        return "unix:" + self.path

    def up(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def down(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open += 1
                self.socks.append(sock)
                self.most_open = max(self.most_open, sum(map(self.in_use, self.socks)))
                number = self.connections
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    @staticmethod
    def in_use(sock):
        """Not when the other side has closed it, whether our thread has seen that yet or not."""
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        return not poll.poll(0)

    def serve(self, sock, number):
        stream = sock.makefile("rb")
        try:
            while True:
                head = stream.read(4)
                if len(head) < 4:
                    return
                data = stream.read(struct.unpack(">I", head)[0])
                event, data = data[:1], data[1:]
                with self.lock:
                    self.events.append((number, event, data))
                if event == b"Q":
                    return
                if event in b"DAK":
                    continue
                reply = packet(b"O", self.options) if event == b"O" else self.answer(event, data, number)
                if reply is None:
                    return
                sock.sendall(reply)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= 1
                self.socks.remove(sock)
            stream.close()
            sock.close()

    def seen(self, event):
        with self.lock:
            return [data for _, e, data in self.events if e == event]
