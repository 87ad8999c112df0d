"""A TCP server on loopback that can go away and come back on its port; a subclass says what a connection does."""
import socket
import threading

from instance import free_port


class TcpServer:
    """serve(sock) runs on a thread of its own for each connection; what it raises of OSError and ValueError ends
    that connection only."""
    BACKLOG = 256
    ADDRESS = "127.0.0.1"

    def __init__(self, port=None):
        self.port = port or free_port()
        self.connections, self.open, self.listener = 0, set(), None
        self.up()

    def serve(self, sock):
        raise NotImplementedError

    def up(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.ADDRESS, self.port))
        self.listener.listen(self.BACKLOG)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self):
        """Stops listening and closes what is open; up() brings it back on the same port."""
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for sock in list(self.open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self.open.add(sock)
        try:
            self.serve(sock)
        except (OSError, ValueError):
            pass
        finally:
            self.open.discard(sock)
            sock.close()
