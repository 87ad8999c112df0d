// The conformance kit: see plugin_check.h.  A case is a function that runs in a child and says what was wrong; a
// child that dies or hangs has failed its case, and the next one goes on.
#include "core/tools/plugin_check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/strings.h"
#include "core/plugin/library.h"
#include "core/tools/hostile_host.h"

namespace millrace::tools {
namespace {

using nlohmann::json;
using Problems = std::vector<std::string>;

constexpr unsigned kCaseSeconds = 60;
constexpr std::uint32_t kStages[] = {MR_STAGE_CONNECT, MR_STAGE_HELO, MR_STAGE_MAIL, MR_STAGE_RCPT,
                                     MR_STAGE_DATA,    MR_STAGE_MESSAGE, MR_STAGE_ABORT};
constexpr const char* kInterfaces[] = {"mr.session/1", "mr.msg/1", "mr.mime/1", "mr.dns/1",          "mr.timer/1", "mr.kv/1",
                                       "mr.metrics/1", "mr.table/1", "mr.auth_results/1", "mr.worker/1"};

const mr_entry* load(const std::string& file, Problems& problems) {
  void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto function = handle == nullptr ? nullptr : reinterpret_cast<mr_entry_function>(dlsym(handle, MR_ENTRY_SYMBOL));
  if (function == nullptr) {
    const char* const why = dlerror();
    problems.emplace_back(why != nullptr ? why : "no function " MR_ENTRY_SYMBOL);
    return nullptr;
  }
  return function();
}

std::size_t entries_of(const char* directory) {
  DIR* const dir = opendir(directory);
  if (dir == nullptr) return 0;
  std::size_t count = 0;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}
std::size_t resident_kib() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0, pages = 0;
  file >> total >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 1024;
}

HostInput ordinary() {
  HostInput in;
  in.argument = "<a@host.example>";
  in.command = "MAIL FROM:<a@host.example> SIZE=100";
  in.parameters = {"SIZE=100"};
  in.headers = {{"From", "A <a@host.example>"}, {"To", "b@example.com"}, {"Subject", "hello\n there"},
                {"Content-Type", "multipart/mixed; boundary=\"x\""}};
  in.body = "--x\r\nContent-Type: text/plain\r\n\r\nbody\r\n--x--\r\n";
  return in;
}
HostInput huge() {
  HostInput in = ordinary();
  in.argument = std::string(1 << 20, 'a');
  in.command = "X " + in.argument;
  in.parameters.assign(1000, "KEY=" + std::string(500, 'v'));
  for (int i = 0; i < 3000; ++i) in.headers.emplace_back("X-" + std::to_string(i), std::string(300, 'h'));
  in.headers.emplace_back("Subject", std::string(1 << 20, 's'));
  in.body = std::string(4 << 20, 'b');
  return in;
}
HostInput binary() {
  HostInput in;
  std::string bytes;
  for (int i = 0; i < 2048; ++i) bytes += static_cast<char>(i * 7 + i / 256);
  in.argument = in.command = bytes;
  in.parameters = {bytes, "", std::string(1, '\0')};
  in.headers = {{"Subject", bytes}, {"", ""}, {"From", "=?utf-8?b?////?= <@\xff>"}, {"Content-Type", "multipart/x; boundary="}};
  in.body = bytes + std::string(3, '\0') + bytes;
  return in;
}

struct Subject {
  const mr_entry* entry;
  const mr_descriptor* descriptor;
  std::string settings;   // JSON
};

// A session through all stages.
void converse(HostileHost& host, const HostInput& in, mr_handle session, HostileHost::Patience patience = HostileHost::Patience::answer,
              bool deadline_passed = false) {
  void* data = nullptr;
  for (const std::uint32_t stage : kStages) host.ask(stage, session, &data, in, deadline_passed, patience);
  host.ask(MR_STAGE_UNKNOWN, session, &data, in, deadline_passed, patience);
  host.ask(MR_STAGE_CLOSE, session, &data, {}, false, HostileHost::Patience::answer);
}

void add(Problems& to, HostileHost& host) {
  for (std::string& one : host.take_problems()) to.push_back(std::move(one));
}

// One life under a mood; false: it refused to start, which a mood may cause.
bool live(const Subject& subject, HostMood mood, Problems& problems, const HostInput& in = ordinary()) {
  HostileHost host(*subject.descriptor, std::move(mood));
  const bool started = host.open(*subject.entry, subject.settings);
  if (started) {
    converse(host, in, 1);
    host.fire_timers();
    host.use_offers(in);
  }
  host.close();
  add(problems, host);
  return started;
}

bool needs(const mr_descriptor& descriptor, std::string_view id) {
  for (const char* const* one = descriptor.required_interfaces; one != nullptr && *one != nullptr; ++one) {
    if (id == *one) return true;
  }
  return false;
}

// --- the cases ----------------------------------------------------------------------------------

void ordinary_case(const Subject& s, Problems& p) {
  HostileHost host(*s.descriptor, {});
  if (!host.open(*s.entry, s.settings)) p.push_back("it does not start (" + host.refusal() + "); give its settings as key=value");
  host.close();
  add(p, host);
  if (p.empty()) live(s, {}, p);
}
void input_case(const Subject& s, Problems& p) {
  live(s, {}, p, HostInput{});
  live(s, {}, p, huge());
  live(s, {}, p, binary());
}
void size_case(const Subject& s, Problems& p) {
  HostMood newer;
  newer.host_size = sizeof(mr_host) + 64;
  if (!live(s, newer, p)) p.emplace_back("does not start with a newer, larger host");
  constexpr std::uint32_t kMost = 20;   // functions of the largest interface
  for (std::uint32_t functions = 0; functions <= kMost && p.empty(); ++functions) {
    HostMood older;
    older.functions = functions;
    (void)live(s, older, p);
    for (std::string& one : p) one += " (with " + std::to_string(functions) + " functions in each interface)";
  }
}
void missing_case(const Subject& s, Problems& p) {
  HostMood nothing;
  for (const char* const id : kInterfaces) {
    nothing.missing.insert(id);
    if (needs(*s.descriptor, id)) continue;   // a host without it does not load the filter
    HostMood mood;
    mood.missing = {id};
    (void)live(s, mood, p);
  }
  for (const char* const id : kInterfaces) {
    if (needs(*s.descriptor, id)) nothing.missing.erase(id);
  }
  (void)live(s, nothing, p);
}
void failing_case(const Subject& s, Problems& p) {
  for (int n = 1; n < 300 && p.empty(); ++n) {
    HostMood mood;
    mood.fail_at = n;
    HostileHost host(*s.descriptor, mood);
    if (host.open(*s.entry, s.settings)) converse(host, ordinary(), 1);
    host.close();
    add(p, host);
    for (std::string& one : p) one += " (when host call " + std::to_string(n) + " failed)";
    if (host.calls() < n) return;
  }
}
void late_case(const Subject& s, Problems& p) {
  HostMood mood;
  mood.too_late = true;
  (void)live(s, mood, p);
  HostileHost host(*s.descriptor, {});
  if (host.open(*s.entry, s.settings)) converse(host, ordinary(), 1, HostileHost::Patience::answer, true);
  host.close();
  add(p, host);
}
void cancel_case(const Subject& s, Problems& p) {
  HostileHost host(*s.descriptor, {});
  if (host.open(*s.entry, s.settings)) {
    for (mr_handle session = 1; session <= 20; ++session) converse(host, ordinary(), session, HostileHost::Patience::cancel);
  }
  host.close();
  add(p, host);
}
void many_case(const Subject& s, Problems& p) {
  HostileHost host(*s.descriptor, {});
  if (host.open(*s.entry, s.settings)) {
    const HostInput in = ordinary();
    void* data[8] = {};
    for (const std::uint32_t stage : kStages) {
      for (mr_handle one = 0; one < 8; ++one) host.ask(stage, one + 1, &data[one], in, false, HostileHost::Patience::answer);
    }
    // Out of order and again, as sessions do; the last two are never closed, as when a host dies.
    for (mr_handle one = 0; one < 8; ++one) host.ask(MR_STAGE_MAIL, one + 1, &data[one], in, false, HostileHost::Patience::answer);
    for (mr_handle one = 0; one < 6; ++one) host.ask(MR_STAGE_CLOSE, one + 1, &data[one], {}, false, HostileHost::Patience::answer);
  }
  host.close();
  add(p, host);
}
void reload_case(const Subject& s, Problems& p) {
  constexpr int kLives = 200, kWarm = 50;
  constexpr std::size_t kSlackKib = 768;   // what the allocator may still be settling
  std::size_t memory = 0, files = 0, threads = 0;
  for (int i = 0; i < kLives && p.empty(); ++i) {
    if (i == kWarm) memory = resident_kib(), files = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
    (void)live(s, {}, p);
  }
  const std::size_t grown = resident_kib();
  if (grown > memory + kSlackKib) p.push_back("memory grew by " + std::to_string(grown - memory) + " KiB in 150 reloads");
  if (entries_of("/proc/self/fd") > files) p.emplace_back("it leaves files open at each reload");
  if (entries_of("/proc/self/task") > threads) p.emplace_back("it leaves threads at each reload");
}
void schema_case(const Subject& s, Problems& p) {
  const json schema = s.descriptor->config_schema == nullptr ? json::object() : json::parse(s.descriptor->config_schema, nullptr, false);
  if (!schema.is_object()) return void(p.emplace_back("its configuration schema is no JSON object"));
  const std::string values[] = {"", "x", "-1", "99999999999999999999", "yes", std::string(100'000, 'v'), "\x01\x7f \xff", "{a=b}"};
  for (const auto& [key, about] : schema.items()) {
    static const std::set<std::string> kTypes = {"string", "integer", "boolean", "time"};
    if (!about.is_object() || kTypes.count(about.value("type", "string")) == 0) {
      p.push_back("its schema: \"" + key + "\" has no type string, integer, boolean or time");
      continue;
    }
    for (const std::string& value : values) {
      json given = json::parse(s.settings);
      given[key] = value;
      HostileHost host(*s.descriptor, {});
      if (host.open(*s.entry, given.dump(-1, ' ', false, json::error_handler_t::replace))) converse(host, ordinary(), 1);
      host.close();
      add(p, host);
    }
  }
}

struct Case {
  const char* name;
  const char* about;
  void (*run)(const Subject&, Problems&);
};
constexpr Case kCases[] = {
    {"ordinary", "starts, answers every stage, ends", ordinary_case},
    {"input", "empty, huge and binary input at every stage", input_case},
    {"sizes", "a larger host, and interfaces cut after each function", size_case},
    {"missing", "interfaces that are not there", missing_case},
    {"failing", "each host call failing in turn", failing_case},
    {"late", "deadlines that have passed, answers nobody hears", late_case},
    {"cancel", "calls given up at once", cancel_case},
    {"sessions", "sessions side by side, some never closed", many_case},
    {"schema", "values that make no sense", schema_case},
    {"reload", "200 lives: memory, files and threads", reload_case},
};

// Runs `body` in a child; what it says, or how it ended.
Problems in_child(const std::function<void(Problems&)>& body) {
  int ends[2];
  if (pipe(ends) != 0) return {"no pipe"};
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) return {"no process"};
  if (child == 0) {
    ::close(ends[0]);
    alarm(kCaseSeconds);
    Problems problems;
    body(problems);
    std::string text;
    for (const std::string& one : problems) text += printable(one) + "\n";
    text += "end\n";
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t n = ::write(ends[1], text.data() + at, text.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    _exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = ::read(ends[0], piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) text.append(piece, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  Problems out;
  for (const std::string_view line : split(text, "\n")) {
    if (line != "end") out.emplace_back(line);
  }
  if (WIFSIGNALED(status)) {
    out.push_back(WTERMSIG(status) == SIGALRM ? "it did not end in " + std::to_string(kCaseSeconds) + " seconds"
                                              : "it ended by signal " + std::to_string(WTERMSIG(status)));
  } else if (!text.ends_with("end\n")) {
    out.emplace_back("it ended the process");
  }
  return out;
}

bool report(const std::string& name, const char* about, const Problems& problems) {
  std::printf("%s %s: %s\n", problems.empty() ? "ok  " : "FAIL", name.c_str(), about);
  for (const std::string& one : problems) std::printf("     %s\n", one.c_str());
  return problems.empty();
}

void entry_case(const std::string& file, Problems& problems) {
  void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    return void(problems.emplace_back(why != nullptr ? why : "cannot be loaded"));
  }
  const std::size_t files = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
  const mr_entry* const entry = load(file, problems);
  if (!problems.empty()) return;
  if (const auto library = plugin::Library::from_entry("this file", entry); !library) problems.push_back(library.error().context);
  if (load(file, problems) != entry) problems.emplace_back("its entry is another one at each call");
  if (entries_of("/proc/self/fd") != files) problems.emplace_back("the entry opens files");
  if (entries_of("/proc/self/task") != threads) problems.emplace_back("the entry starts threads");
}

}  // namespace

int plugin_check(const std::string& given, const std::vector<std::string>& settings) {
  const std::string file = given.find('/') == std::string::npos ? "./" + given : given;
  if (access(file.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "millrace: fatal: %s: cannot be read\n", given.c_str());
    return 2;
  }
  json keys = json::object();
  for (const std::string& one : settings) {
    const std::size_t equal = one.find('=');
    if (equal == 0 || equal == std::string::npos) {
      std::fprintf(stderr, "millrace: fatal: \"%s\" is not key=value\n", one.c_str());
      return 2;
    }
    keys[one.substr(0, equal)] = one.substr(equal + 1);
  }
  bool good = report("entry", "loads, describes itself, does nothing else", in_child([&](Problems& p) { entry_case(file, p); }));
  if (!good) return 1;
  std::size_t filters = 0;
  const Problems count = in_child([&](Problems& p) {
    for (std::uint32_t i = 0; i < load(file, p)->count; ++i) p.emplace_back(load(file, p)->describe(i)->id);
  });
  for (const std::string& id : count) {
    for (const Case& one : kCases) {
      const Problems problems = in_child([&](Problems& p) {
        const mr_entry* const entry = load(file, p);
        const mr_descriptor* const descriptor = entry->describe(static_cast<std::uint32_t>(filters));
        // Only keys that the filter knows: a host gives it no others.
        json own = json::object();
        const json schema = json::parse(descriptor->config_schema == nullptr ? "{}" : descriptor->config_schema, nullptr, false);
        for (const auto& [key, value] : keys.items()) {
          if (schema.contains(key)) own[key] = value;
        }
        one.run({entry, descriptor, own.dump()}, p);
      });
      const bool passed = report(id + "/" + one.name, one.about, problems);
      good = passed && good;
      if (!passed && one.run == ordinary_case) break;   // what does not work at all is not worth hours
    }
    ++filters;
  }
  std::printf("%s: %s\n", given.c_str(), good ? "conforms" : "does not conform");
  return good ? 0 : 1;
}

}  // namespace millrace::tools
