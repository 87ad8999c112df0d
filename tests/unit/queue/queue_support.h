// A temporary queue directory and messages for the tests of the queue.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "core/net/fiber.h"
#include "core/queue/store.h"

namespace millrace::queue {

// On the disk of the build folder rather than /tmp: O_TMPFILE needs a real file system.
struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "millrace-queue-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

inline Entry make_entry(const std::string& id, std::size_t recipients = 1) {
  Entry entry;
  entry.envelope.queue_id = id;
  entry.envelope.sender = "sender@example.org";
  entry.envelope.client_address = "192.0.2.1";
  entry.envelope.arrival = 1700000000000000;
  for (std::size_t i = 0; i < recipients; ++i) {
    mime::Recipient recipient;
    recipient.address = recipient.original = "user" + std::to_string(i) + "@example.net";
    entry.recipients.push_back({recipient});
  }
  return entry;
}

inline std::unique_ptr<Store> open_store(const std::string& directory) {
  StoreOptions options;
  options.directory = directory;
  Result<std::unique_ptr<Store>> store = Store::open(options);
  if (!store) FAIL(store.error().context);
  return std::move(*store);
}

inline int temporary_file(const std::string& directory, const std::string& bytes) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

inline std::string read_all(const Content& content) {
  std::string out(static_cast<std::size_t>(content.size()), '\0');
  for (std::size_t at = 0; at < out.size();) {
    const Result<std::size_t> got = content.read_at(at, std::span(out).subspan(at));
    REQUIRE(got);
    REQUIRE(*got > 0);
    at += *got;
  }
  return out;
}

// Runs `body` on a fiber of a loop of its own.
template <typename F>
void on_fiber(F body) {
  net::Loop loop;
  REQUIRE(loop.spawn(net::Stack::session, [&] {
    body();
    loop.stop();
  }));
  loop.run();
}

}  // namespace millrace::queue
