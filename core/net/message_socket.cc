#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/net/descriptor.h"
#include "core/net/scheduler.h"
#include "core/net/socket_stream.h"
#include "core/net/stream.h"

namespace millrace::net {
namespace {

constexpr std::size_t kMaxFds = 16;        // in one message
constexpr std::size_t kReadBytes = 65536;  // asked for at once

union Control {
  cmsghdr align;
  char bytes[CMSG_SPACE(kMaxFds * sizeof(int))];
};

// Takes the descriptors out of `message`; all of them are ours from here on.
void collect(msghdr& message, std::vector<int>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      fds.push_back(fd);
    }
  }
}

}  // namespace

struct MessageSocket::Impl {
  explicit Impl(int fd) : descriptor(fd) {
    int type = SOCK_STREAM;
    socklen_t size = sizeof type;
    ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    packets = type == SOCK_SEQPACKET;
  }
  Descriptor descriptor;
  bool packets = false;  // a short read says nothing of what waits behind it
  bool drained = false;  // the last read took all there was: the next begins with a wait
};

MessageSocket::MessageSocket(int fd) : impl_(std::make_unique<Impl>(fd)) {}
MessageSocket::~MessageSocket() = default;

Result<void> MessageSocket::send(std::string_view bytes, std::span<const int> fds,
                                 Deadline deadline) {
  if (bytes.empty() || fds.size() > kMaxFds) {
    return fail(Errc::too_large, "a message has 1 byte at least and 16 descriptors at most");
  }
  Control control;
  bool with_fds = !fds.empty();  // they ride on the first byte
  while (!bytes.empty()) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (with_fds) {
      std::memset(&control, 0, sizeof control);
      message.msg_control = control.bytes;
      message.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
    }
    const ssize_t n = ::sendmsg(impl_->descriptor.fd(), &message, MSG_NOSIGNAL);
    if (n > 0) {
      with_fds = false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      auto waited = impl_->descriptor.wait(Descriptor::Direction::write, deadline);
      if (!waited) return waited;
    } else if (errno != EINTR) {
      return system_failure(errno);
    }
  }
  return {};
}

Result<void> MessageSocket::receive(std::string& out, std::vector<int>& fds, Deadline deadline) {
  // Shared by the thread's sockets: nothing suspends between the bytes' arrival in it and the copy.
  thread_local const std::unique_ptr<char[]> arrivals(new char[kReadBytes]);
  Control control;
  for (bool wait = impl_->drained;; wait = true) {
    if (wait) {
      impl_->drained = false;
      if (out.empty() && out.capacity() > kReadBytes) std::string().swap(out);
      auto waited = impl_->descriptor.wait(Descriptor::Direction::read, deadline);
      if (!waited) return waited;
    }
    iovec part{arrivals.get(), kReadBytes};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control;
    impl_->descriptor.about_to_read();
    const ssize_t n = ::recvmsg(impl_->descriptor.fd(), &message, MSG_CMSG_CLOEXEC);
    if (n > 0) {
      std::vector<int> received;
      collect(message, received);
      if ((message.msg_flags & MSG_CTRUNC) != 0) {  // more than the limit: the kernel dropped some
        for (const int fd : received) ::close(fd);
        return fail(Errc::protocol, "too many descriptors in a message");
      }
      fds.insert(fds.end(), received.begin(), received.end());
      out.append(arrivals.get(), static_cast<std::size_t>(n));
      // A read stops behind descriptors whatever follows them.
      impl_->drained = !impl_->packets && received.empty() && static_cast<std::size_t>(n) < kReadBytes;
      return {};
    }
    if (n == 0) return fail(Errc::closed, "end of file");
    if (errno != EAGAIN && errno != EINTR) return system_failure(errno);
  }
}

}  // namespace millrace::net
