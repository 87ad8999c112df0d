// A milter on a unix socket, run by a thread: answers each event as told and keeps what it was sent.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/milter/wire.h"

namespace millrace::test {

class ScriptedMilter {
 public:
  // Bytes to send in answer to an event; nullopt closes the connection.
  using Script = std::function<std::optional<std::string>(char command, const std::string& data)>;

  ScriptedMilter(milter::Options options, Script script) : options_(std::move(options)), script_(std::move(script)) {
    char directory[] = "/tmp/milterXXXXXX";
    directory_ = mkdtemp(directory);
    path_ = directory_ + "/s";
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 16) != 0) abort();
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedMilter() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  const std::string& path() const { return path_; }
  // "C …", one line an event, NULs as '|'; "EOF" when the client closed without a QUIT.  Waits for the end
  // of the connections there are.
  std::vector<std::string> events() {
    for (int i = 0; i < 2000 && open_ > 0; ++i) usleep(1000);
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  void note(std::string line) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(line));
  }
  static void send_all(int fd, const std::string& bytes) {
    std::size_t at = 0;
    while (at < bytes.size()) {
      const ssize_t n = send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n <= 0) return;
      at += static_cast<std::size_t>(n);
    }
  }
  void serve() {
    for (;;) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      ++open_;
      converse(fd);
      ::close(fd);
      --open_;
    }
  }
  void converse(int fd) {
    std::string buffer;
    char piece[4096];
    for (;;) {
      const milter::Decoded decoded = milter::decode(buffer);
      if (decoded.status != milter::DecodeStatus::ok) {
        const ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) return note("EOF");
        buffer.append(piece, static_cast<std::size_t>(n));
        continue;
      }
      const char command = decoded.packet.command;
      const std::string data(decoded.packet.data);
      buffer.erase(0, decoded.consumed);
      if (command == 'O') {
        std::string out;
        milter::encode_options(options_, out);
        if (const auto instead = script_(command, data); !instead) return;
        else if (!instead->empty()) out = *instead;
        send_all(fd, out);
        continue;
      }
      std::string line(1, command);
      if (data.size() > 300) {
        line += " (" + std::to_string(data.size()) + " octets)";
      } else if (!data.empty()) {
        line += " " + data;
      }
      for (char& c : line) {
        if (c == '\0') c = '|';
      }
      note(std::move(line));
      if (command == 'Q') return;
      if (command == 'K' && !script_(command, data)) return;
      if (command == 'D' || command == 'A' || command == 'K') continue;
      const auto out = script_(command, data);
      if (!out) return;
      send_all(fd, *out);
    }
  }

  milter::Options options_;
  Script script_;
  std::string directory_, path_;
  int listener_ = -1;
  std::atomic<int> open_ = 0;
  std::mutex mutex_;
  std::vector<std::string> events_;
  std::thread thread_;
};

inline std::string packet(char command, std::string_view data = {}) {
  std::string out;
  milter::encode(command, data, out);
  return out;
}

}  // namespace millrace::test
