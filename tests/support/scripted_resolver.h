// A Resolver with given answers; others are NXDOMAIN.  Each question may take a while.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/strings.h"
#include "core/net/dns.h"
#include "core/net/fiber.h"

namespace millrace::test {

class ScriptedResolver : public net::Resolver {
 public:
  void give(std::string_view name, net::DnsType type, std::vector<std::string> values) {
    net::DnsAnswer& answer = answers_[{lower(name), type}];
    answer.status = net::DnsStatus::ok;
    for (std::string& value : values) answer.records.push_back({300, 0, 0, 0, std::move(value)});
  }
  void a(const std::string& name, const std::string& address) {
    net::DnsAnswer& answer = answers_[{lower(name), net::DnsType::a}];
    answer.status = net::DnsStatus::ok;
    answer.records.push_back({300, 0, 0, 0, address});
  }
  void mx(const std::string& name, const std::vector<std::pair<std::uint16_t, std::string>>& list) {
    net::DnsAnswer& answer = answers_[{lower(name), net::DnsType::mx}];
    answer.status = net::DnsStatus::ok;
    for (const auto& [preference, host] : list) answer.records.push_back({300, preference, 0, 0, host});
  }
  void status(const std::string& name, net::DnsType type, net::DnsStatus status) {
    answers_[{lower(name), type}].status = status;
  }
  // The name servers of this name do not answer.
  void temporary(const std::string& name) {
    for (const net::DnsType type : {net::DnsType::a, net::DnsType::aaaa, net::DnsType::mx}) {
      answers_[{lower(name), type}].status = net::DnsStatus::temporary;
    }
  }
  net::DnsAnswer query(std::string_view name, net::DnsType type, Deadline deadline) override {
    questions.emplace_back(name);
    most_at_once = std::max(most_at_once, ++at_once);
    if (delay.count() > 0) (void)net::sleep_until(Deadline::after(delay).earlier(ignore_deadline ? Deadline::never() : deadline));
    --at_once;
    const auto found = answers_.find({lower(name), type});
    if (found != answers_.end()) return found->second;
    net::DnsAnswer none;
    none.status = net::DnsStatus::no_name;
    return none;
  }
  void prefetch(std::string_view, net::DnsType) override {}
  std::unique_ptr<net::DnsQuestion> start(std::string_view name, net::DnsType type) override {
    started.emplace_back(name);
    if (!parallel) return net::Resolver::start(name, type);
    most_at_once = std::max(most_at_once, ++at_once);
    return std::make_unique<UnderWay>(*this, Deadline::after(delay), type, name);
  }

  std::chrono::milliseconds delay{0};
  bool ignore_deadline = false;
  bool parallel = false;   // start() has the delay run from then on; needs a loop
  std::vector<std::string> questions, started;
  int at_once = 0, most_at_once = 0;

 private:
  class UnderWay final : public net::DnsQuestion {
   public:
    UnderWay(ScriptedResolver& resolver, Deadline ready, net::DnsType type, std::string_view name)
        : resolver_(resolver), ready_(ready), type_(type), name_(name) {}
    const net::DnsAnswer& answer(Deadline) override {
      if (!std::exchange(done_, true)) {
        (void)net::sleep_until(ready_);
        --resolver_.at_once;
        const auto found = resolver_.answers_.find({lower(name_), type_});
        answer_.status = net::DnsStatus::no_name;
        if (found != resolver_.answers_.end()) answer_ = found->second;
      }
      return answer_;
    }

   private:
    ScriptedResolver& resolver_;
    Deadline ready_;
    net::DnsType type_;
    std::string name_;
    net::DnsAnswer answer_;
    bool done_ = false;
  };
  std::map<std::pair<std::string, net::DnsType>, net::DnsAnswer> answers_;
};

}  // namespace millrace::test
