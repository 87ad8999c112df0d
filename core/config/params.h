// Params: the parameters of one service as values, generated from params.def.  Immutable once made; a
// session keeps the snapshot it began with.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace millrace::config {

struct Params {
#define PARAM_STR(name, fallback, meaning) std::string name;   // $name expanded
#define PARAM_RAW(name, fallback, meaning) std::string name;   // as written
#define PARAM_BOOL(name, fallback, meaning) bool name = false;
#define PARAM_INT(name, fallback, low, high, meaning) std::int64_t name = 0;
#define PARAM_SIZE(name, fallback, low, high, meaning) std::int64_t name = 0;   // bytes
#define PARAM_TIME(name, fallback, low, high, meaning) std::chrono::seconds name{0};
#include "core/config/params.def"
#undef PARAM_STR
#undef PARAM_RAW
#undef PARAM_BOOL
#undef PARAM_INT
#undef PARAM_SIZE
#undef PARAM_TIME
};

}  // namespace millrace::config
