#include "core/queue/in_flight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/queue/store.h"

namespace millrace::queue {
namespace {
constexpr std::size_t kFirstSlots = 1024;
}

InFlight::~InFlight() {
  if (slots_ != nullptr) ::munmap(slots_, count_ * kSlotBytes);
  if (fd_ >= 0) ::close(fd_);
}

Result<std::vector<std::string>> InFlight::open(const std::string& path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat status {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) return fail(Errc::io, path + ": " + std::strerror(errno));
  std::size_t slots = static_cast<std::size_t>(status.st_size) / kSlotBytes;
  if (Result<void> grown = grow(std::max(slots, kFirstSlots)); !grown) return tl::unexpected(grown.error());
  std::vector<std::string> found;
  for (std::size_t i = 0; i < count_; ++i) {
    const char* slot = slots_ + i * kSlotBytes;
    const std::string_view id(slot, ::strnlen(slot, kSlotBytes));
    if (is_queue_id(id)) found.emplace_back(id);
  }
  std::memset(slots_, 0, count_ * kSlotBytes);
  return found;
}

Result<void> InFlight::grow(std::size_t slots) {
  // Blocks are allocated before they are mapped: a full disk must be an error here and not a SIGBUS.
  if (const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(slots * kSlotBytes)); error != 0) {
    return fail(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::io,
                std::string("in-flight table: ") + std::strerror(error));
  }
  void* mapped = slots_ == nullptr
                     ? ::mmap(nullptr, slots * kSlotBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0)
                     : ::mremap(slots_, count_ * kSlotBytes, slots * kSlotBytes, MREMAP_MAYMOVE);
  if (mapped == MAP_FAILED) return fail(Errc::io, std::string("in-flight table: ") + std::strerror(errno));
  slots_ = static_cast<char*>(mapped);
  for (std::size_t i = slots; i-- > count_;) free_.push_back(static_cast<std::uint32_t>(i));
  count_ = slots;
  return {};
}

Result<void> InFlight::mark(const std::string& queue_id) {
  if (!is_queue_id(queue_id)) return fail(Errc::internal, "in-flight table: bad queue id");
  if (used_.contains(queue_id)) return {};
  if (free_.empty()) {
    if (Result<void> grown = grow(count_ * 2); !grown) return grown;
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  used_.emplace(queue_id, slot);
  std::memcpy(slots_ + slot * kSlotBytes, queue_id.data(), queue_id.size());
  return {};
}

void InFlight::clear(const std::string& queue_id) {
  const auto at = used_.find(queue_id);
  if (at == used_.end()) return;
  std::memset(slots_ + at->second * kSlotBytes, 0, kSlotBytes);
  free_.push_back(at->second);
  used_.erase(at);
}

}  // namespace millrace::queue
