#include "core/base/log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using namespace millrace;

TEST_CASE("log: whole lines from many threads, control bytes defused", "[base][log]") {
  const int fd = ::memfd_create("log", 0);
  log::open({log::Facility::file, fd, "mx", true});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      const log::Logger logger("postfix/smtpd", static_cast<unsigned>(100 + t));
      for (int i = 0; i < 500; ++i) logger.info("line\r\nNov 21 forged");
    });
  }
  for (auto& thread : threads) thread.join();
  log::flush();
  std::string text(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
  REQUIRE(::pread(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  std::size_t lines = 0;
  for (std::size_t at = 0; at < text.size(); ++lines) {
    const std::size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    const std::string line = text.substr(at, end - at);
    CHECK(line.find(" mx postfix/smtpd[10") != std::string::npos);
    CHECK(line.substr(line.find("]: ")) == "]: line??Nov 21 forged");
    at = end + 1;
  }
  CHECK(lines == 2000);
}

TEST_CASE("log: a process that holds its lines back lets the others' go first", "[base][log]") {
  const int fd = ::memfd_create("log", 0);
  log::Options options{log::Facility::file, fd, "mx", true};
  options.hold = std::chrono::milliseconds(200);
  log::open(options);
  const auto size = [&] { return ::lseek(fd, 0, SEEK_END); };
  const auto begun = std::chrono::steady_clock::now();
  log::Logger("postfix/qmgr").info("one");
  while (size() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds(200));
  // Who asks for it gets it at once.
  log::Logger("postfix/qmgr").info("two");
  log::flush();
  CHECK(size() > 50);
}
