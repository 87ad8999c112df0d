// dns.a(name), dns.aaaa, dns.ns, dns.txt, dns.ptr(address): a list of texts, empty when there are none.
// dns.mx(name): a list of {host=, preference=}.  nil, why when it could not be found out now.
// The look-up suspends the fiber the script runs on; its time is cut from the call's.
#include <lua.hpp>

#include "core/net/dns.h"
#include "lua/sandbox.h"

namespace millrace::lua {
namespace {

constexpr std::int64_t kQuestionCost = 2000;  // instructions: bounds the questions of one call

// Answers are kept in a plain C++ value while Lua may raise errors only after it is gone; so the result
// is pushed in a protected call of its own.
struct Pushed {
  const net::DnsAnswer* answer;
  net::DnsType type;
};

int push_records(lua_State* state) {
  const auto* pushed = static_cast<const Pushed*>(lua_touserdata(state, 1));
  const auto& records = pushed->answer->records;
  lua_createtable(state, static_cast<int>(records.size()), 0);
  lua_Integer index = 0;
  for (const net::DnsRecord& record : records) {
    if (pushed->type == net::DnsType::mx) {
      lua_createtable(state, 0, 2);
      lua_pushlstring(state, record.value.data(), record.value.size());
      lua_setfield(state, -2, "host");
      lua_pushinteger(state, record.preference);
      lua_setfield(state, -2, "preference");
    } else {
      lua_pushlstring(state, record.value.data(), record.value.size());
    }
    lua_rawseti(state, -2, ++index);
  }
  return 1;
}

// Returns the number of results on the stack, or -1 when an error message is on top.
int ask(lua_State* state, net::DnsType type) {
  Call* const call = current_call();
  if (call == nullptr || call->resolver == nullptr) {
    lua_pushnil(state);
    lua_pushliteral(state, "no resolver here");
    return 2;
  }
  std::string name;
  if (std::size_t length = 0; const char* text = lua_tolstring(state, 1, &length)) name.assign(text, length);
  if (type == net::DnsType::ptr) name = net::reverse_name(name);
  net::DnsAnswer answer;
  if (name.empty()) {
    answer.status = net::DnsStatus::no_name;
  } else {
    answer = call->resolver->query(name, type, call->deadline);
    current_call() = call;  // other scripts ran meanwhile
  }
  if (answer.status != net::DnsStatus::ok && answer.status != net::DnsStatus::no_data &&
      answer.status != net::DnsStatus::no_name) {
    lua_pushnil(state);
    lua_pushliteral(state, "temporary failure");
    return 2;
  }
  if (answer.status != net::DnsStatus::ok) answer.records.clear();
  Pushed pushed{&answer, type};
  lua_pushcfunction(state, push_records);
  lua_pushlightuserdata(state, &pushed);
  return lua_pcall(state, 1, 1, 0) == LUA_OK ? 1 : -1;
}

template <net::DnsType type>
int question(lua_State* state) {
  luaL_checkstring(state, 1);
  lua_settop(state, 1);
  luaL_checkstack(state, 10, "dns");
  charge(state, kQuestionCost);
  const int results = ask(state, type);
  return results < 0 ? lua_error(state) : results;
}

}  // namespace

void open_dns(lua_State* state) {
  static const luaL_Reg kFunctions[] = {
      {"a", question<net::DnsType::a>},     {"aaaa", question<net::DnsType::aaaa>},
      {"mx", question<net::DnsType::mx>},   {"ns", question<net::DnsType::ns>},
      {"txt", question<net::DnsType::txt>}, {"ptr", question<net::DnsType::ptr>},
      {nullptr, nullptr},
  };
  luaL_newlib(state, kFunctions);
  lua_setglobal(state, "dns");
}

}  // namespace millrace::lua
