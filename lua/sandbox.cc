#include "lua/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <lua.hpp>
#include <utility>

#include "core/base/assert.h"

namespace millrace::lua {
namespace {

constexpr int kHookInterval = 1000;
constexpr std::size_t kLargestBlock = 1u << 20;  // bounds what one C call of the string library can cost
constexpr double kPatternSteps = 1e8;            // most steps a pattern match may need, at worst

void on_count(lua_State* state, lua_Debug* place) {
  Call* call = current_call();
  if (call == nullptr) return;
  if (lua_getinfo(state, "l", place) != 0 && place->currentline > 0) call->line = place->currentline;
  call->instructions_left -= kHookInterval;
  if (!call->exceeded && call->instructions_left > 0 && !call->deadline.passed()) return;
  // From now on every instruction fails, so that no pcall in the script can go on after it.
  call->exceeded = true;
  lua_sethook(state, on_count, LUA_MASKCOUNT, 1);
  luaL_where(state, 0);   // in a hook the script's function is level 0, not 1 as luaL_error takes it
  lua_pushstring(state, call->instructions_left <= 0 ? "instruction limit exceeded" : "time limit exceeded");
  lua_concat(state, 2);
  lua_error(state);
}

// Lua's matcher backtracks: a pattern with k quantifiers may take (n+1)^k steps on n bytes, and once
// more n when it is not anchored.  No hook runs inside it, so the bound is checked before.
void check_pattern_cost(lua_State* state) {
  std::size_t text_length = 0, pattern_length = 0;
  luaL_checklstring(state, 1, &text_length);
  const char* pattern = luaL_checklstring(state, 2, &pattern_length);
  int quantifiers = pattern_length > 0 && pattern[0] == '^' ? 0 : 1;
  for (std::size_t i = 0; i < pattern_length; ++i) {
    if (pattern[i] == '%') {
      ++i;
    } else if (std::strchr("*+-?", pattern[i]) != nullptr && pattern[i] != '\0') {
      ++quantifiers;
    }
  }
  const double steps = std::pow(static_cast<double>(text_length) + 1, quantifiers);
  if (steps > kPatternSteps) {
    luaL_error(state, "pattern with %d repetitions is too costly for a text of %d bytes", quantifiers,
               static_cast<int>(text_length));
  }
  charge(state, static_cast<std::int64_t>(text_length) / 8);
}

// string.find, match, gmatch, gsub: the original is the upvalue.
int guarded_pattern(lua_State* state) {
  const bool plain = lua_toboolean(state, lua_upvalueindex(2)) && lua_toboolean(state, 4);
  if (!plain) check_pattern_cost(state);
  const int arguments = lua_gettop(state);
  lua_pushvalue(state, lua_upvalueindex(1));
  lua_insert(state, 1);
  lua_call(state, arguments, LUA_MULTRET);
  return lua_gettop(state);
}

void guard(lua_State* state, const char* name, bool has_plain) {
  lua_getfield(state, -1, name);
  lua_pushboolean(state, has_plain);
  lua_pushcclosure(state, guarded_pattern, 2);
  lua_setfield(state, -2, name);
}

// A finalizer would run at any allocation, of any session: not for scripts.
int safe_setmetatable(lua_State* state) {
  luaL_checktype(state, 1, LUA_TTABLE);
  if (lua_istable(state, 2)) {
    lua_getfield(state, 2, "__gc");
    if (!lua_isnil(state, -1)) return luaL_error(state, "__gc is not available");
    lua_pop(state, 1);
  } else if (!lua_isnil(state, 2)) {
    return luaL_typeerror(state, 2, "table or nil");
  }
  lua_settop(state, 2);
  lua_setmetatable(state, 1);
  return 1;
}

int refuse_new_global(lua_State* state) {
  const char* name = lua_tostring(state, 2);
  return luaL_error(state, "global '%s' cannot be set here: use a local", name != nullptr ? name : "?");
}

void open_libraries(lua_State* state) {
  luaL_requiref(state, "_G", luaopen_base, 1);
  luaL_requiref(state, "string", luaopen_string, 1);
  luaL_requiref(state, "table", luaopen_table, 1);
  luaL_requiref(state, "math", luaopen_math, 1);
  luaL_requiref(state, "utf8", luaopen_utf8, 1);
  lua_settop(state, 0);
  for (const char* name : {"dofile", "loadfile", "load", "collectgarbage", "print", "warn"}) {
    lua_pushnil(state);
    lua_setglobal(state, name);
  }
  lua_register(state, "setmetatable", safe_setmetatable);
  lua_getglobal(state, "string");
  guard(state, "find", true);
  guard(state, "match", false);
  guard(state, "gmatch", false);
  guard(state, "gsub", false);
  lua_pushnil(state);
  lua_setfield(state, -2, "dump");
  lua_pop(state, 1);
  // os: the clock only.
  luaL_requiref(state, "os", luaopen_os, 0);
  lua_newtable(state);
  for (const char* name : {"time", "date", "difftime", "clock"}) {
    lua_getfield(state, -2, name);
    lua_setfield(state, -2, name);
  }
  lua_setglobal(state, "os");
  lua_settop(state, 0);
  lua_pushnil(state);
  lua_setfield(state, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);  // the full os library is not left behind
}

}  // namespace

Call*& current_call() {
  thread_local Call* call = nullptr;
  return call;
}

int explain_error(lua_State* state) {
  if (lua_type(state, 1) == LUA_TSTRING) return 1;
  // error() itself is C and has no line: the place is its caller's.
  lua_Debug place{};
  for (int level = 1; lua_getstack(state, level, &place) != 0; ++level) {
    if (lua_getinfo(state, "l", &place) != 0 && place.currentline > 0) {
      luaL_where(state, level);
      break;
    }
  }
  if (lua_gettop(state) == 1) lua_pushliteral(state, "");
  lua_pushfstring(state, "error with a %s value", luaL_typename(state, 1));
  lua_concat(state, 2);
  return 1;
}

void charge(lua_State* state, std::int64_t amount) {
  Call* call = current_call();
  if (call == nullptr) return;
  call->instructions_left -= amount;
  if (call->instructions_left <= 0) luaL_error(state, "instruction limit exceeded");
}

Sandbox::Sandbox(const Budget& budget) : budget_(budget) {
  state_ = lua_newstate(allocate, this);
  MR_ASSERT(state_ != nullptr);
  // Set-up allocates little, but may fail: protected, so that no longjmp leaves through C++.
  lua_pushcfunction(state_, [](lua_State* state) {
    open_libraries(state);
    open_dns(state);
    open_log(state);
    return 0;
  });
  MR_ASSERT(lua_pcall(state_, 0, 0, 0) == LUA_OK);
}

Sandbox::~Sandbox() { lua_close(state_); }

void* Sandbox::allocate(void* self, void* block, std::size_t old_size, std::size_t new_size) {
  auto* sandbox = static_cast<Sandbox*>(self);
  if (block == nullptr) old_size = 0;  // then it holds a type tag
  if (new_size == 0) {
    sandbox->used_ -= old_size;
    std::free(block);
    return nullptr;
  }
  if (new_size > old_size && (new_size > kLargestBlock || sandbox->used_ - old_size + new_size > sandbox->budget_.memory_bytes)) {
    return nullptr;
  }
  void* fresh = std::realloc(block, new_size);
  if (fresh != nullptr) sandbox->used_ += new_size - old_size;
  return fresh;
}

void Sandbox::collect() { lua_gc(state_, LUA_GCCOLLECT); }

void Sandbox::arm(lua_State* thread) { lua_sethook(thread, on_count, LUA_MASKCOUNT, kHookInterval); }

Result<void> Sandbox::load(const std::string& path, Call& call) {
  Call* const before = std::exchange(current_call(), &call);
  arm(state_);
  lua_pushcfunction(state_, explain_error);
  int status = luaL_loadfilex(state_, path.c_str(), "t");
  if (status == LUA_OK) status = lua_pcall(state_, 0, 0, 1);
  current_call() = before;
  if (status != LUA_OK) {
    const char* message = lua_tostring(state_, -1);
    std::string why = message != nullptr ? message : "error without a message";
    if (status == LUA_ERRMEM) why = fmt::format("{}:{}: {}", path, std::max(call.line, 1), why);
    lua_settop(state_, 0);
    return fail(Errc::config, std::move(why));
  }
  lua_pushglobaltable(state_);
  lua_newtable(state_);
  lua_pushcfunction(state_, refuse_new_global);
  lua_setfield(state_, -2, "__newindex");
  lua_pushboolean(state_, 0);
  lua_setfield(state_, -2, "__metatable");
  lua_setmetatable(state_, -2);
  lua_settop(state_, 0);
  return {};
}

}  // namespace millrace::lua
