#include "core/deliver/templates.h"

#include <catch2/catch.hpp>

#include <vector>

using namespace millrace;
using namespace millrace::deliver;

namespace {
std::vector<std::string> read(std::string_view text, Templates& out) {
  std::vector<std::string> said;
  read_templates(text, out, [&](const std::string& what) { said.push_back(what); });
  return said;
}
}  // namespace

TEST_CASE("deliver templates: a file replaces what it names, headers that it leaves out stay", "[deliver][templates]") {
  Templates t;
  CHECK(read("# comment\n\nfailure_template = <<EOF\nCharset: utf-8\nsubject : Returned\nPostmaster-Subject: Copy\n\n"
             "one\n  two\nEOF\n\nverify_template=<<Ende\nno headers\nEnde\n", t).empty());
  const Templates builtin;
  CHECK(t.failure.charset == "utf-8");
  CHECK(t.failure.subject == "Returned");
  CHECK(t.failure.postmaster_subject == "Copy");
  CHECK(t.failure.from == builtin.failure.from);
  CHECK(t.failure.text == "one\r\n  two\r\n");
  CHECK(t.verify.text == "no headers\r\n");
  CHECK(t.delay.text == builtin.delay.text);
}

TEST_CASE("deliver templates: what cannot be used is left out and told", "[deliver][templates]") {
  using V = std::vector<std::string>;
  const Templates builtin;
  Templates t;
  CHECK(read("failure_template = <<EOF\nHm: x\n\ntext\nEOF\n", t) ==
        V{"line 1: unknown \"Hm\" header label in failure template -- ignoring this template"});
  CHECK(read("\nfailure_template = <<EOF\nSubject: x\n\nEOF\n", t) ==
        V{"line 2: missing message text in failure template -- ignoring this template"});
  CHECK(read("delay_template = <<EOF\ntext \xc3\xbc\nEOF\n", t) ==
        V{"line 1: 8-bit text in delay template: it needs a Charset header other than us-ascii -- ignoring this template"});
  CHECK(read("other_template = <<EOF\ntext\nEOF\nfailure_template = x\n", t) ==
        V{"line 1: unknown template name: other_template", "line 4: expected: template_name = <<EOF"});
  CHECK(read("failure_template = <<EOF\ntext\n", t) == V{"line 1: missing \"EOF\" end marker"});
  CHECK(t.failure.text == builtin.failure.text);
  CHECK(t.delay.text == builtin.delay.text);
}

TEST_CASE("deliver templates: names are expanded, times in the unit that is asked for", "[deliver][templates]") {
  Templates t;
  read("failure_template = <<EOF\n$name $$5 $delay_warning_time_hours ${maximal_queue_lifetime_days}\nEOF\n", t);
  const auto lookup = [](std::string_view name) -> std::optional<std::string> {
    if (name == "name" || name == "myhostname") return "mx";
    return {};
  };
  REQUIRE(expand_templates(t, 2 * 3600, 5 * 86400, lookup));
  CHECK(t.failure.text == "mx $5 2 5\r\n");
  CHECK(t.delay.text.find("more than 2 hour(s)") != std::string::npos);
  Templates bad;
  bad.success.text = "$nowhere";
  CHECK(expand_templates(bad, 0, 0, lookup).error().context == "success template: undefined name: nowhere");
}
