#include "core/local/mailbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/temporary_directory.h"

using namespace millrace;
using namespace millrace::local;

namespace {

struct Box {
  Box() {
    const std::string name = path("message");
    std::ofstream(name) << "Subject: x\r\n\r\nFrom me\r\n";
    message = ::open(name.c_str(), O_RDONLY);
    rules.owner = ::geteuid();
    rules.lock_attempts = 1;
    options.sender = "a@b";
    options.when = 0;
  }
  ~Box() { ::close(message); }
  std::string path(const std::string& name) const { return (std::filesystem::path(directory.path()) / name).string(); }
  static std::string text(const std::string& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  test::TemporaryDirectory directory;
  int message = -1;
  MailboxRules rules;
  CopyOptions options;
};

constexpr char kCopy[] = "From a@b  Thu Jan  1 00:00:00 1970\nSubject: x\n\n>From me\n\n";

}  // namespace

TEST_CASE("mailbox file: made with mode 0600, appended to, lock file gone", "[local][mailbox]") {
  Box box;
  ::setenv("TZ", "UTC", 1);
  const std::string file = box.path("mbox");
  CHECK(append_to_file(file, box.message, box.options, box.rules).ok);
  CHECK(append_to_file(file, box.message, box.options, box.rules).ok);
  CHECK(Box::text(file) == std::string(kCopy) + kCopy);
  struct stat info{};
  CHECK(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK_FALSE(std::filesystem::exists(file + ".lock"));
}

TEST_CASE("mailbox file: over its limit it is as long as before", "[local][mailbox]") {
  Box box;
  const std::string file = box.path("mbox");
  std::ofstream(file) << "old\n";
  box.rules.size_limit = 20;
  const Placed placed = append_to_file(file, box.message, box.options, box.rules);
  CHECK_FALSE(placed.ok);
  CHECK(placed.dsn == "5.2.2");
  CHECK(Box::text(file) == "old\n");
}

TEST_CASE("mailbox file: links, directories, foreign files and held locks are refused", "[local][mailbox]") {
  Box box;
  const std::string file = box.path("mbox"), link = box.path("link");
  std::ofstream(file) << "old\n";
  if (::geteuid() != 0) {   // a link of root's own is trusted
    REQUIRE(::symlink(file.c_str(), link.c_str()) == 0);
    CHECK(append_to_file(link, box.message, box.options, box.rules).reason == "file is a symbolic link");
  }
  REQUIRE(::symlink("nowhere", box.path("dangling").c_str()) == 0);
  CHECK_FALSE(append_to_file(box.path("dangling"), box.message, box.options, box.rules).ok);
  CHECK_FALSE(std::filesystem::exists(box.path("nowhere")));
  REQUIRE(::link(file.c_str(), box.path("second").c_str()) == 0);
  CHECK(append_to_file(file, box.message, box.options, box.rules).reason == "file has 2 hard links");
  CHECK_FALSE(append_to_file(box.directory.path(), box.message, box.options, box.rules).ok);
  std::filesystem::remove(box.path("second"));
  box.rules.owner = 12345;
  CHECK(append_to_file(file, box.message, box.options, box.rules).dsn == "4.2.0");
  box.rules.owner = ::geteuid();
  std::ofstream(file + ".lock") << "";
  CHECK(append_to_file(file, box.message, box.options, box.rules).dsn == "4.2.0");
  CHECK(Box::text(file) == "old\n");
}

TEST_CASE("maildir: made when needed, whole messages in new alone", "[local][mailbox]") {
  Box box;
  box.options.return_path = true;
  const std::string directory = box.path("a/b/Maildir/");
  CHECK(put_in_maildir(directory, box.message, box.options, box.rules, "mx.example").ok);
  CHECK(put_in_maildir(directory, box.message, box.options, box.rules, "mx.example").ok);
  CHECK(std::filesystem::is_empty(directory + "tmp"));
  CHECK(std::filesystem::is_empty(directory + "cur"));
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory + "new")) {
    ++count;
    CHECK(Box::text(entry.path().string()) == "Return-Path: <a@b>\nSubject: x\n\nFrom me\n");
    CHECK(entry.path().filename().string().ends_with(".mx.example"));
  }
  CHECK(count == 2);
  box.rules.size_limit = 10;
  CHECK(put_in_maildir(directory, box.message, box.options, box.rules, "mx.example").dsn == "5.2.2");
  CHECK(std::filesystem::is_empty(directory + "tmp"));
}
