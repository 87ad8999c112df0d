// log.info(text), log.warning(text): a line in the mail log, under the session's number.
#include <lua.hpp>
#include <string_view>

#include "lua/sandbox.h"

namespace millrace::lua {
namespace {

constexpr std::int64_t kLineCost = 500;  // instructions: bounds the lines of one call

template <void (log::Logger::*level)(std::string_view) const>
int line(lua_State* state) {
  std::size_t length = 0;
  const char* text = luaL_checklstring(state, 1, &length);
  charge(state, kLineCost);
  const Call* call = current_call();
  if (call != nullptr && call->log != nullptr) (call->log->*level)(std::string_view(text, length));
  return 0;
}

}  // namespace

void open_log(lua_State* state) {
  static const luaL_Reg kFunctions[] = {
      {"info", line<&log::Logger::info>},
      {"warning", line<&log::Logger::warning>},
      {nullptr, nullptr},
  };
  luaL_newlib(state, kFunctions);
  lua_setglobal(state, "log");
}

}  // namespace millrace::lua
