// The store on a disk that fails.  LMDB's system calls are replaced by ones that fail on demand: a program
// of its own, so that nothing else meets them.
#include <sys/syscall.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>

#include "queue_support.h"

namespace {
std::atomic<int> sync_error = 0, write_error = 0;
std::atomic<int> syncs_tried = 0;
}  // namespace

// Found by liblmdb before libc's.
extern "C" int fdatasync(int fd) {
  ++syncs_tried;
  if (sync_error != 0) {
    errno = sync_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* bytes, std::size_t size, off_t offset) {
  if (write_error != 0) {
    errno = write_error;
    return -1;
  }
  return ::syscall(SYS_pwrite64, fd, bytes, size, offset);
}

extern "C" ssize_t writev(int fd, const iovec* pieces, int count) {
  if (write_error != 0) {
    errno = write_error;
    return -1;
  }
  return ::syscall(SYS_writev, fd, pieces, count);
}

namespace millrace::queue {

TEST_CASE("queue failure: a full disk is an answer, and passes", "[queue]") {
  const TemporaryDirectory directory;
  std::string failure;
  StoreOptions options;
  options.directory = directory.path;
  options.on_failure = [&](const Error& why) { failure = why.context; };
  {
    auto store = std::move(*Store::open(options));
    REQUIRE(store->add(make_entry("AAAA0001"), "x", -1));
    write_error = ENOSPC;
    CHECK(store->add(make_entry("AAAA0002"), "x", -1).error().code == Errc::no_space);
    Update remove{"AAAA0001"};
    remove.remove = true;
    CHECK(store->apply(remove).error().code == Errc::no_space);
    store->apply_later(remove);
    CHECK(store->commit_pending().error().code == Errc::no_space);
    CHECK_FALSE(store->failed());
    write_error = 0;
    REQUIRE(store->add(make_entry("AAAA0003"), "y", -1));
    REQUIRE(store->close());
  }
  auto store = std::move(*Store::open(options));
  CHECK(store->load("AAAA0001").error().code == Errc::not_found);   // the removal was not forgotten
  CHECK(store->load("AAAA0002").error().code == Errc::not_found);
  CHECK(*store->open_content("AAAA0003")->memory() == "y");
  CHECK(failure.empty());
}

TEST_CASE("queue failure: a failed sync ends the store, and is not tried again", "[queue]") {
  const TemporaryDirectory directory;
  std::atomic<int> failures = 0;
  StoreOptions options;
  options.directory = directory.path;
  options.on_failure = [&](const Error&) { ++failures; };
  {
    auto store = std::move(*Store::open(options));
    REQUIRE(store->add(make_entry("AAAA0001"), "x", -1));
    sync_error = EIO;
    const int before = syncs_tried;
    CHECK(store->add(make_entry("AAAA0002"), "x", -1).error().code == Errc::io);
    sync_error = 0;
    CHECK(store->failed());
    CHECK(failures == 1);
    CHECK(store->add(make_entry("AAAA0003"), "x", -1).error().code == Errc::io);
    CHECK(store->load("AAAA0001").error().code == Errc::io);
    CHECK(store->for_each([](const Summary&) { return true; }).error().code == Errc::io);
    CHECK(syncs_tried == before + 1);
    CHECK(failures == 1);
    CHECK_FALSE(store->close());
  }
  auto store = std::move(*Store::open(options));   // a new process recovers
  CHECK(store->load("AAAA0001"));
  CHECK(store->add(make_entry("AAAA0004"), "x", -1));
}

TEST_CASE("queue failure: a side file that cannot be synced is not acknowledged", "[queue]") {
  const TemporaryDirectory directory;
  auto store = open_store(directory.path);
  sync_error = EIO;
  CHECK(store->add(make_entry("AAAA0001"), "", temporary_file(directory.path, "content")).error().code == Errc::io);
  sync_error = 0;
  CHECK(store->load("AAAA0001").error().code == Errc::not_found);
  CHECK_FALSE(store->failed());
}

}  // namespace millrace::queue
