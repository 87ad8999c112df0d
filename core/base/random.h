// Random numbers from the operating system, and the counter behind unique names.
#pragma once

#include <cstdint>
#include <string>

namespace millrace {

// Unpredictable 64 bits (getrandom, buffered per thread).
std::uint64_t random_u64();

// A number in [0, bound), without modulo bias worth naming.  bound > 0.
std::uint64_t random_below(std::uint64_t bound);

// `length` characters of [0-9a-z], unpredictable.
std::string random_token(std::size_t length);

}  // namespace millrace
