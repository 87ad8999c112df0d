#include "core/tools/probe_tool.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/base/strings.h"
#include "core/milter/probe.h"
#include "core/net/fiber.h"
#include "core/policy/wire.h"

namespace millrace::tools {
namespace {

using Json = nlohmann::json;
constexpr auto kBudget = std::chrono::seconds(30);

struct PolicyReport {
  std::vector<milter::ProbeStep> steps;
  std::vector<std::string> problems;
};

// Two requests over one connection, as a server meets them behind Postfix.
Result<PolicyReport> probe_policy(const net::Endpoint& at) {
  const Deadline until = Deadline::after(kBudget);
  auto stream = net::connect(at, {}, until);
  if (!stream) return tl::unexpected(stream.error());
  PolicyReport report;
  std::string input;
  for (int round = 1; round <= 2; ++round) {
    const policy::Attributes attributes = {{"request", "smtpd_access_policy"}, {"protocol_state", "RCPT"}, {"protocol_name", "ESMTP"},
                                           {"client_address", "127.0.0.1"},    {"client_name", "localhost"}, {"reverse_client_name", "localhost"},
                                           {"helo_name", "localhost"},         {"sender", "probe@localhost"}, {"recipient", "postmaster@localhost"},
                                           {"instance", fmt::format("probe.{}", round)}, {"queue_id", ""}, {"size", "0"}};
    const TimePoint start = SteadyClock::now();
    if (auto sent = (*stream)->write(policy::encode(attributes), until); !sent) {
      report.problems.push_back(fmt::format("request {}: {}", round, round == 1 ? "cannot be written" : "it closed the connection after an answer"));
      return report;
    }
    for (;;) {
      const policy::Decoded decoded = policy::decode(input);
      if (decoded.status == policy::DecodeStatus::ok) {
        const auto span = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start);
        report.steps.push_back({fmt::format("request {}", round), printable(decoded.action.substr(0, 200)), span.count()});
        input.erase(0, decoded.consumed);
        if (!input.empty()) report.problems.push_back(fmt::format("request {}: {} bytes behind the answer", round, input.size()));
        break;
      }
      if (decoded.status != policy::DecodeStatus::need_more) {
        return round == 1 ? Result<PolicyReport>(fail(Errc::protocol, "its answer is not of the policy protocol")) : Result<PolicyReport>(std::move(report));
      }
      char piece[4096];
      const auto n = (*stream)->read_some(piece, sizeof piece, until);
      if (!n) {
        report.problems.push_back(fmt::format("request {}: {}", round, n.error().code == Errc::timeout ? "no answer in time" : "it closed the connection"));
        return report;
      }
      input.append(piece, *n);
    }
  }
  (*stream)->close();
  return report;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out.empty() ? "-" : out;
}

void print_steps(const std::vector<milter::ProbeStep>& steps, const std::vector<std::string>& problems) {
  for (const auto& step : steps) fmt::print("  {:<10} {:>9.3f} ms  {}\n", step.event, static_cast<double>(step.latency_us) / 1000, step.answer);
  for (const std::string& problem : problems) fmt::print("  out of protocol: {}\n", problem);
}

Json json_of(const std::vector<milter::ProbeStep>& steps) {
  Json out = Json::array();
  for (const auto& step : steps) out.push_back({{"event", step.event}, {"answer", step.answer}, {"latency_us", step.latency_us}});
  return out;
}

constexpr const char* kStages[] = {"connect", "helo", "mail", "rcpt", "data", "end_of_message", "end_of_headers"};

int show(const milter::ProbeReport& report, bool json) {
  if (json) {
    Json macros = Json::object();
    for (std::size_t i = 0; i < std::size(kStages); ++i) {
      if (report.options.macros[i]) macros[kStages[i]] = printable(*report.options.macros[i]);
    }
    fmt::print("{}\n", Json{{"kind", "milter"}, {"version", report.options.version}, {"actions", milter::action_names(report.options.actions)},
                            {"protocol", milter::protocol_names(report.options.protocol)}, {"macros", macros}, {"steps", json_of(report.steps)},
                            {"problems", report.problems}, {"ended", report.ended}}
                           .dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("a milter, protocol version {}\n  changes it may ask for: {}\n  protocol: {}\n", report.options.version,
               joined(milter::action_names(report.options.actions)), joined(milter::protocol_names(report.options.protocol)));
    for (std::size_t i = 0; i < std::size(kStages); ++i) {
      if (report.options.macros[i]) fmt::print("  macros at {}: {}\n", kStages[i], printable(*report.options.macros[i]));
    }
    print_steps(report.steps, report.problems);
    if (!report.ended.empty()) fmt::print("  the walk ended: {}\n", report.ended);
  }
  return report.problems.empty() ? 0 : 1;
}

int show(const PolicyReport& report, bool json) {
  if (json) {
    fmt::print("{}\n", Json{{"kind", "policy"}, {"steps", json_of(report.steps)}, {"problems", report.problems}}.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("a policy service\n");
    print_steps(report.steps, report.problems);
  }
  return report.problems.empty() ? 0 : 1;
}

}  // namespace

int probe_main(int argc, char** argv, const std::string&) {
  std::string address;
  bool json = false, as_policy = false, as_milter = false, usage = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") json = true;
    else if (word == "--policy") as_policy = true;
    else if (word == "--milter") as_milter = true;
    else if (address.empty() && !word.starts_with("--")) address = word;
    else usage = true;
  }
  if (usage || address.empty()) {
    fmt::print(stderr, "usage: millrace probe unix:/PATH|inet:HOST:PORT [--milter|--policy] [--json]\n");
    return 2;
  }
  const auto at = milter::parse_probe_address(address);
  if (!at) {
    fmt::print(stderr, "millrace probe: {}\n", at.error().context);
    return 2;
  }
  int status = 1;
  net::Loop loop;
  loop.post([&] {
    const bool started = loop.spawn(net::Stack::session, [&] {
      std::string problem;
      bool done = false;
      if (!as_policy) {
        if (const auto report = milter::probe(*at, kBudget)) {
          status = show(*report, json);
          done = true;
        } else {
          problem = report.error().context;
          done = as_milter || report.error().code != Errc::protocol;   // nobody there: no use in asking otherwise
        }
      }
      if (!done) {
        const auto report = probe_policy(*at);
        if (report && !report->steps.empty()) {
          status = show(*report, json);
          problem.clear();
        } else if (as_policy) {
          problem = report ? joined(report->problems) : report.error().context;
        } else {
          problem += "; and no policy service either";
        }
      }
      if (!problem.empty()) fmt::print(stderr, "millrace probe: {}: {}\n", address, problem);
      loop.stop();
    }).has_value();
    if (!started) loop.stop();
  });
  loop.run();
  return status;
}

}  // namespace millrace::tools
