// smtpd_milters and elements of smtpd_filters.
#include <catch2/catch.hpp>

#include "core/milter/client.h"

using namespace millrace;
using namespace millrace::milter;

namespace {

struct Read {
  config::Findings findings;
  std::vector<std::shared_ptr<filter::Filter>> filters;
  const Milter& milter(std::size_t i) const { return dynamic_cast<const Milter&>(*filters.at(i)); }
};

Read read(std::string main_cf, std::string_view value, const Host& host = {}) {
  Read out;
  config::Findings ignored;
  const auto config = config::Config::from_text("myhostname = mx.example\nqueue_directory = /q\n" + main_cf, "", ignored);
  out.filters = make_filters(*config, config->params(), value, out.findings, host);
  return out;
}

}  // namespace

TEST_CASE("milter settings: a list of services with blocks", "[milter]") {
  const Read r = read("", "inet:127.0.0.1:8891, unix:/run/a.sock {inet:[::1]:9, default_action=accept, "
                          "{ command_timeout = 10s }, connect_timeout=1m, protocol=4, shadow=yes, max_connections=3,"
                          "timeout=5s} unix:rel/b.sock");
  REQUIRE_FALSE(r.findings.has_errors());
  REQUIRE(r.filters.size() == 4);
  CHECK(r.filters[0]->name() == "milter:inet:127.0.0.1:8891");
  CHECK(r.milter(0).settings().version == 6);
  CHECK(r.filters[0]->options.default_action.code == 451);
  CHECK(r.filters[0]->options.max_connections == 100);
  CHECK(r.milter(1).settings().path == "/run/a.sock");
  const Settings& block = r.milter(2).settings();
  CHECK(block.host == "::1");
  CHECK(block.port == "9");
  CHECK(block.version == 4);
  CHECK(block.command_timeout == std::chrono::seconds(10));
  CHECK(block.connect_timeout == std::chrono::seconds(60));
  CHECK(block.content_timeout == std::chrono::seconds(300));
  CHECK(r.filters[2]->options.default_action.action == filter::Action::proceed);
  CHECK(r.filters[2]->options.shadow);
  CHECK(r.filters[2]->options.max_connections == 3);
  CHECK(r.filters[2]->options.timeout == std::chrono::seconds(5));
  CHECK(r.milter(3).settings().path == "/q/rel/b.sock");
}

TEST_CASE("milter settings: chrooted services find their sockets below the queue directory", "[milter]") {
  Host host;
  host.chroot = true;
  CHECK(read("", "unix:/run/a.sock", host).milter(0).settings().path == "/q//run/a.sock");
}

TEST_CASE("milter settings: parameters are the defaults of all services", "[milter]") {
  const Read r = read("milter_default_action = quarantine\nmilter_protocol = 2, no_header_reply\n"
                      "milter_macro_defaults = local=here, { long = a b }, x=1\nmilter_connect_macros = j {y}, z\n",
                      "unix:/a");
  REQUIRE_FALSE(r.findings.has_errors());
  const Settings& settings = r.milter(0).settings();
  CHECK(settings.version == 2);
  CHECK(settings.no_header_reply);
  CHECK(r.milter(0).options.default_action.action == filter::Action::quarantine);
  CHECK(settings.macros.defaults ==
        std::vector<std::pair<std::string, std::string>>{{"{local}", "here"}, {"{long}", "a b"}, {"x", "1"}});
  CHECK(settings.macros.lists[0] == std::vector<std::string>{"j", "{y}", "z"});
  CHECK(settings.macros.host_name == "mx.example");
}

TEST_CASE("milter settings: what cannot be used is an error", "[milter]") {
  const auto bad = GENERATE(as<std::string>(), "inet:8891@localhost", "tcp:a:1", "inet:a", "unix:", "{unix:/a, x=1}",
                            "{unix:/a, protocol=5}", "{unix:/a, command_timeout=soon}", "{unix:/a", "{}",
                            "{unix:/a, default_action=maybe}", "{unix:/a, shadow=perhaps}", "{unix:/a, max_connections=-1}");
  CAPTURE(bad);
  const Read r = read("", bad);
  CHECK(r.findings.has_errors());
  CHECK(r.filters.empty());
}

TEST_CASE("milter settings: one element of smtpd_filters", "[milter]") {
  config::Findings findings;
  const auto config = config::Config::from_text("", "", findings);
  findings = {};
  const auto filter = make_filter(*config, config->params(), "{ milter:unix:/a, timeout=7s }", findings);
  REQUIRE(filter);
  CHECK(filter->name() == "milter:unix:/a");
  CHECK(filter->options.timeout == std::chrono::seconds(7));
  CHECK_FALSE(make_filter(*config, config->params(), "unix:/a", findings));
  CHECK(findings.has_errors());
}
