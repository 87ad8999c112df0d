#include "core/base/random.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>

#include "core/base/assert.h"

namespace millrace {

std::uint64_t random_u64() {
  thread_local std::array<std::uint64_t, 32> pool;
  thread_local std::size_t left = 0;
  thread_local pid_t owner = 0;  // a forked child must not repeat its parent's numbers
  if (left == 0 || owner != getpid()) {
    MR_ASSERT(getrandom(pool.data(), sizeof pool, 0) == static_cast<ssize_t>(sizeof pool));
    left = pool.size();
    owner = getpid();
  }
  return pool[--left];
}

__extension__ using Wide = unsigned __int128;

std::uint64_t random_below(std::uint64_t bound) {
  return static_cast<std::uint64_t>((static_cast<Wide>(random_u64()) * bound) >> 64);
}

std::string random_token(std::size_t length) {
  static const char kAlphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string out;
  for (std::size_t i = 0; i < length; ++i) out += kAlphabet[random_below(36)];
  return out;
}

}  // namespace millrace
