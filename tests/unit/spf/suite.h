// The RFC 7208 test suite (openspf.org, release 2014.04; its licence lies beside it) as data.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "plugins/spf/evaluator.h"

namespace millrace::test {

// One scenario's zone, as the suite's own driver reads it: without TXT records the SPF ones are TXT, and TIMEOUT
// is the answer to what has no record before it.
class SuiteZone final : public spf::Resolver {
 public:
  explicit SuiteZone(const nlohmann::json& zonedata) {
    for (const auto& [name, entries] : zonedata.items()) zone_[lower(name)] = entries;
  }
  spf::Answer query(const std::string& name, spf::RecordType type) override {
    ++asked;
    static constexpr const char* kTypes[] = {"A", "AAAA", "MX", "PTR", "TXT"};
    return find(lower(name), kTypes[static_cast<std::size_t>(type)], 0);
  }
  int asked = 0;

 private:
  static std::string lower(std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
  }
  spf::Answer find(const std::string& name, const std::string& type, int depth) {
    spf::Answer out{spf::Answer::Status::nothing, {}};
    const auto entries = zone_.find(name);
    if (entries == zone_.end() || depth > 8) return out;
    bool has_txt = false;
    for (const auto& one : entries->second) has_txt = has_txt || (one.is_object() && one.contains("TXT"));
    for (const auto& one : entries->second) {
      if (one.is_string()) {   // TIMEOUT
        if (out.values.empty()) return {spf::Answer::Status::error, {}};
        continue;
      }
      if (one.contains("CNAME") && type != "CNAME") return find(lower(one["CNAME"].get<std::string>()), type, depth + 1);
      const std::string key = type == "TXT" && !has_txt ? "SPF" : type;
      if (!one.contains(key) || one[key] == "NONE") continue;
      const auto& value = one[key];
      if (value == "TIMEOUT") return {spf::Answer::Status::error, {}};
      std::string text;
      if (type == "MX") text = value[1].get<std::string>();
      else if (value.is_array()) for (const auto& piece : value) text += piece.get<std::string>();
      else text = value.get<std::string>();
      if (type == "MX" && text.empty()) text = ".";
      out.status = spf::Answer::Status::ok;
      out.values.push_back(text);
    }
    return out;
  }
  std::map<std::string, nlohmann::json> zone_;
};

struct SuiteCase {
  std::string name, host, helo, sender;
  std::set<std::string> results;
  std::string explanation;   // empty: not tested
};
struct Scenario {
  std::string name;
  nlohmann::json zonedata;
  std::vector<SuiteCase> cases;
};

inline std::vector<Scenario> load_suite(const std::string& file) {
  std::ifstream in(file);
  std::vector<Scenario> out;
  for (const auto& one : nlohmann::json::parse(in)) {
    Scenario scenario{one["description"], one["zonedata"], {}};
    for (const auto& [name, test] : one["tests"].items()) {
      SuiteCase made{name, test["host"], test["helo"], test["mailfrom"], {}, {}};
      if (test["result"].is_array()) made.results = test["result"].get<std::set<std::string>>();
      else made.results = {test["result"].get<std::string>()};
      if (test.contains("explanation") && test["explanation"].is_string()) made.explanation = test["explanation"];
      scenario.cases.push_back(std::move(made));
    }
    out.push_back(std::move(scenario));
  }
  return out;
}

}  // namespace millrace::test
