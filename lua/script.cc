#include "lua/script.h"

#include <fmt/format.h>

#include <lua.hpp>

#include "core/net/fiber.h"

namespace millrace::lua {

// Everything one call needs, kept alive until its fiber has ended even when the caller was canceled.
struct Script::Run {
  std::shared_ptr<Sandbox> sandbox;
  std::string path, function;
  Facts facts;
  Call call;
  log::Logger log;
  Result<Answer> result = fail(Errc::internal, "not run");
  net::Event done;
};

namespace {

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

struct Arguments {
  const std::string* function;
  const Facts* facts;
};

// Runs protected: pushes the function and its table, calls it, leaves its two results and its place.
int call_function(lua_State* state) {
  const auto* arguments = static_cast<const Arguments*>(lua_touserdata(state, 1));
  lua_getglobal(state, arguments->function->c_str());
  if (!lua_isfunction(state, -1)) return luaL_error(state, "no function '%s'", arguments->function->c_str());
  lua_Debug debug{};
  lua_pushvalue(state, -1);
  lua_getinfo(state, ">S", &debug);
  const int line = debug.linedefined;
  current_call()->line = line;
  lua_createtable(state, 0, static_cast<int>(arguments->facts->size()));
  for (const auto& [name, value] : *arguments->facts) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      lua_pushinteger(state, *number);
    } else {
      const std::string& text = std::get<std::string>(value);
      lua_pushlstring(state, text.data(), text.size());
    }
    lua_setfield(state, -2, name.c_str());
  }
  lua_call(state, 1, 2);
  lua_pushinteger(state, line);
  return 3;
}

// The answer of a call that returned; an error when it is not one or two strings.
Result<Answer> take_answer(lua_State* thread, const std::string& path, const std::string& function) {
  const std::string where = fmt::format("{}:{}", file_name(path), lua_tointeger(thread, -1));
  for (const int index : {-3, -2}) {
    const int type = lua_type(thread, index);
    if (type == LUA_TSTRING || (index == -2 && type == LUA_TNIL)) continue;
    return fail(Errc::temporary,
                fmt::format("{}: function {} returned {} where a string is needed", where, function, lua_typename(thread, type)));
  }
  std::size_t length = 0;
  const char* text = lua_tolstring(thread, -3, &length);
  Answer answer{std::string(text, length), where};
  if (const char* more = lua_tolstring(thread, -2, &length)) answer.action.append(" ").append(more, length);
  return answer;
}

}  // namespace

Script::Script(std::string path, const Budget& budget) : path_(std::move(path)), budget_(budget) {}
Script::~Script() = default;

Result<std::shared_ptr<Script>> Script::load(const std::string& path, const Budget& budget) {
  std::shared_ptr<Script> script(new Script(path, budget));
  if (auto loaded = script->refresh(); !loaded) return tl::unexpected(loaded.error());
  return script;
}

Result<void> Script::refresh() {
  auto fresh = std::make_shared<Sandbox>(budget_);
  Call call;
  call.instructions_left = budget_.instructions;
  call.deadline = Deadline::after(budget_.time);
  if (auto loaded = fresh->load(path_, call); !loaded) return loaded;
  sandbox_ = std::move(fresh);
  return {};
}

bool Script::has_function(const std::string& name) const {
  lua_State* state = sandbox_->state();
  lua_pushglobaltable(state);
  lua_pushlstring(state, name.data(), name.size());
  lua_rawget(state, -2);
  const bool found = lua_isfunction(state, -1);
  lua_settop(state, 0);
  return found;
}

void Script::run(Run& run) {
  lua_State* const state = run.sandbox->state();
  lua_State* const thread = lua_newthread(state);
  const int anchor = luaL_ref(state, LUA_REGISTRYINDEX);  // other calls come and go on the main stack
  run.sandbox->arm(thread);
  Call* const before = std::exchange(current_call(), &run.call);
  const net::LoopHolder holder(run.path.c_str());
  Arguments arguments{&run.function, &run.facts};
  lua_pushcfunction(thread, explain_error);
  lua_pushcfunction(thread, call_function);
  lua_pushlightuserdata(thread, &arguments);
  if (lua_pcall(thread, 1, 3, 1) == LUA_OK) {
    run.result = take_answer(thread, run.path, run.function);
  } else {
    const char* message = lua_tostring(thread, -1);
    std::string why = message != nullptr ? message : "error without a message";
    if (why.compare(0, run.path.size(), run.path) == 0) why.erase(0, run.path.size() - file_name(run.path).size());
    if (why.find(file_name(run.path)) == std::string::npos) {
      why = fmt::format("{}:{}: {}", file_name(run.path), run.call.line, why);
    }
    run.result = fail(Errc::temporary, std::move(why));
  }
  current_call() = before;
  luaL_unref(state, LUA_REGISTRYINDEX, anchor);
}

Result<Answer> Script::call(const std::string& function, const Facts& facts, net::Resolver* resolver,
                            Deadline deadline, const log::Logger& log) {
  if (sandbox_->is_bloated()) {
    sandbox_->collect();
    if (sandbox_->is_bloated()) {
      if (auto loaded = refresh(); !loaded) return tl::unexpected(loaded.error());
    }
  }
  const auto run_state = std::make_shared<Run>();
  run_state->sandbox = sandbox_;
  run_state->path = path_;
  run_state->function = function;
  run_state->facts = facts;
  run_state->log = log;
  run_state->call.instructions_left = budget_.instructions;
  run_state->call.deadline = deadline.earlier(Deadline::after(budget_.time));
  run_state->call.resolver = resolver;
  run_state->call.log = &run_state->log;
  auto started = net::Loop::current().spawn(net::Stack::lua, [run_state] {
    run(*run_state);
    run_state->done.set();
  });
  if (!started) return tl::unexpected(started.error());
  // Its own deadlines end the script; the caller's wait needs none.
  if (auto waited = run_state->done.wait(Deadline::never()); !waited) return tl::unexpected(waited.error());
  return run_state->result;
}

}  // namespace millrace::lua
