// The template of a plugin: see plugin_new.h.
#include "core/tools/plugin_new.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

#include "core/plugin/library.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kCxx = R"raw(// @NAME@: refuses mail to the addresses it is told, and marks what it has seen.
#include <millrace/plugin.hpp>

namespace sdk = millrace::sdk;

class Filter : public sdk::Filter {
 public:
  static sdk::Description describe() {
    sdk::Description d{"@NAME@", "0.1.0", "refuses an address, adds a header"};
    d.stages = MR_STAGE_RCPT | MR_STAGE_MESSAGE;   // what it is asked at
    d.edits = MR_EDIT_HEADERS;                     // what it may change
    d.traits = MR_TRAIT_DETERMINISTIC;
    d.config_schema = R"({"refuse": {"type": "string", "default": "", "doc": "recipient that is refused"}})";
    return d;
  }

  bool configure(const sdk::Settings& settings) override {
    if (const auto refuse = settings.find("refuse"); refuse != settings.end()) refuse_ = refuse->second;
    return true;
  }

  Verdict rcpt(Call& call) override {
    for (const std::string& address : call.recipients()) {
      if (!refuse_.empty() && address == refuse_) return Verdict::reject("This address takes no mail", 550, "5.7.1").reason("@NAME@");
    }
    return {};   // no opinion
  }

  Verdict message(Call& call) override {
    call.add_header("X-@NAME@", "seen");
    return {};
  }

 private:
  std::string refuse_;
};

MILLRACE_PLUGIN(Filter)
)raw";

constexpr std::string_view kC = R"raw(/* @NAME@: marks what it has seen. */
#include <stdlib.h>
#include <string.h>

#include <millrace/plugin.h>

struct instance {
  mr_filter filter; /* what the host holds; first, so that one pointer is both */
  const mr_host *host;
  const mr_msg_1 *msg;
};

static mr_string text(const char *words) {
  mr_string out;
  out.data = words;
  out.size = strlen(words);
  return out;
}

/* Asked at the stages that the descriptor names. */
static int32_t on_stage(void *self, const mr_event *event, mr_verdict *verdict) {
  struct instance *me = self;
  (void)verdict; /* zeroed: no opinion */
  if (event->stage == MR_STAGE_MESSAGE && MR_HAS(mr_msg_1, me->msg, header_add)) {
    mr_rc rc = me->msg->header_add(me->host->ctx, event->message, text("X-@NAME@"), text("seen"));
    if (rc != MR_OK) return rc; /* the failure policy of this filter answers */
  }
  return MR_DONE;
}

static void destroy(void *self) { free(self); }

static const char *const needs[] = {"mr.msg/1", NULL};

static const mr_descriptor descriptor = {
    sizeof(mr_descriptor),
    MR_STAGE_MESSAGE,       /* stages */
    MR_EDIT_HEADERS,        /* edits */
    MR_BODY_NONE,
    MR_THREADS_FREE,
    MR_TRAIT_DETERMINISTIC,
    0,                      /* max_concurrency: any */
    MR_STATUS_ALPHA,
    MR_POSTURE_ROBUST,
    0,
    "@NAME@", "0.1.0", "adds a header",
    needs,
    NULL,                   /* config_schema */
    NULL, NULL              /* before, after */
};

static const mr_descriptor *describe(uint32_t index) { return index == 0 ? &descriptor : NULL; }

static mr_filter *create(const mr_host *host, const char *id) {
  struct instance *me = calloc(1, sizeof *me);
  (void)id;
  if (me == NULL) return NULL;
  me->host = host;
  me->msg = host->get_interface(host->ctx, "mr.msg/1");
  me->filter.struct_size = sizeof me->filter;
  me->filter.self = me;
  me->filter.on_stage = on_stage;
  me->filter.destroy = destroy;
  return &me->filter;
}

static const mr_entry entry = {sizeof(mr_entry), MR_ABI_MAJOR,   MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0,
                               MR_SDK_VERSION,   "@NAME@ 0.1.0", describe,     create};

MR_EXPORT const mr_entry *millrace_plugin_entry_v1(void) { return &entry; }
)raw";

constexpr std::string_view kCMake = R"raw(cmake_minimum_required(VERSION 3.16)
project(@NAME@ LANGUAGES @CMAKELANG@)
find_package(MillracePlugin REQUIRED)
millrace_plugin(@NAME@ @NAME@.@EXT@)

enable_testing()
find_program(MILLRACE millrace)
if(MILLRACE)
  add_test(NAME conforms COMMAND ${MILLRACE} plugin check $<TARGET_FILE:@NAME@>)
endif()
)raw";

constexpr std::string_view kMake = R"raw(# make, make check, make install
MILLRACE ?= millrace
PLUGINS ?= /usr/lib/millrace/plugins
@COMPILERVAR@FLAGS ?= -O2 -g -Wall -Wextra
SDK_CFLAGS := $(shell pkg-config --cflags millrace-plugin 2>/dev/null)

@NAME@.so: @NAME@.@EXT@ export.map
	$(@COMPILER@) @STD@ $(@COMPILERVAR@FLAGS) $(SDK_CFLAGS) -fPIC -fvisibility=hidden -shared -Wl,--version-script=export.map -o $@ $<

check: @NAME@.so
	$(MILLRACE) plugin check ./@NAME@.so

install: @NAME@.so
	install -d $(DESTDIR)$(PLUGINS)
	install -m 0644 @NAME@.so $(DESTDIR)$(PLUGINS)/@NAME@.so

clean:
	rm -f @NAME@.so

.PHONY: check install clean
)raw";

constexpr std::string_view kMap = R"raw({
  global: millrace_plugin_entry_v1;
  local: *;
};
)raw";

constexpr std::string_view kConf = R"raw(# For main.cf, once @NAME@.so is in plugin_directory:
smtpd_filters = plugin:@NAME@
)raw";

constexpr std::string_view kReadme = R"raw(# @NAME@

A plugin for Millrace.

    make && make check          # or: cmake -B build && cmake --build build && ctest --test-dir build
    make install                # into /usr/lib/millrace/plugins, owned by root
    millrace plugin list @NAME@

then add the line of `@NAME@.conf` to main.cf and `millrace reload`. `make check` runs the conformance kit: every stage with
odd input, a host that fails, calls that are given up, 200 reloads.

The ABI, its threads and who owns what: `millrace/plugin.h`@HPP@, the manual, contrib/docs/plugins.md.
)raw";

struct Names {
  std::string name;
  bool cxx;
};

std::string fill(std::string_view pattern, const Names& names) {
  const std::pair<std::string_view, std::string_view> words[] = {
      {"NAME", names.name},
      {"EXT", names.cxx ? "cc" : "c"},
      {"CMAKELANG", names.cxx ? "CXX" : "C"},
      {"COMPILER", names.cxx ? "CXX" : "CC"},
      {"COMPILERVAR", names.cxx ? "CXX" : "C"},
      {"STD", names.cxx ? "-std=c++17" : "-std=c11"},
      {"HPP", names.cxx ? " and `plugin.hpp`" : ""},
  };
  std::string out;
  while (!pattern.empty()) {
    const std::size_t at = pattern.find('@');
    out += pattern.substr(0, at);
    if (at == pattern.npos) break;
    pattern.remove_prefix(at + 1);
    bool known = false;
    for (const auto& [word, value] : words) {
      if (pattern.substr(0, word.size()) != word || pattern.substr(word.size(), 1) != "@") continue;
      out += value;
      pattern.remove_prefix(word.size() + 1);
      known = true;
      break;
    }
    if (!known) out += '@';
  }
  return out;
}

}  // namespace

int plugin_new(const std::string& lang, const std::string& name) {
  const auto fail = [](const std::string& why) { return std::fprintf(stderr, "millrace: fatal: %s\n", why.c_str()), 1; };
  if (lang != "c" && lang != "cxx") return fail("--lang is c or cxx");
  if (!plugin::is_plugin_name(name)) return fail("\"" + name + "\" is no name of a plugin: letters, digits, \"_\", \"-\"");
  const Names names{name, lang == "cxx"};
  if (mkdir(name.c_str(), 0777) != 0) return fail(name + ": " + std::strerror(errno));
  const std::pair<std::string, std::string_view> files[] = {
      {names.cxx ? name + ".cc" : name + ".c", names.cxx ? kCxx : kC},
      {"CMakeLists.txt", kCMake}, {"Makefile", kMake}, {"export.map", kMap}, {name + ".conf", kConf}, {"README.md", kReadme}};
  for (const auto& [file, pattern] : files) {
    std::ofstream out(name + "/" + file);
    out << fill(pattern, names);
    if (!out.flush()) return fail(name + "/" + file + ": cannot be written");
  }
  std::printf("%s: cd %s && make && make check\n", name.c_str(), name.c_str());
  return 0;
}

}  // namespace millrace::tools
