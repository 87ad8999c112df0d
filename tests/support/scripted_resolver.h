// A Resolver without a network: answers at once from a table, "no such name" otherwise.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/net/dns.h"

namespace millrace::test {

class ScriptedResolver : public net::Resolver {
 public:
  void a(const std::string& name, const std::string& address) {
    net::DnsRecord record;
    record.value = address;
    add(name, net::DnsType::a, record);
  }
  void mx(const std::string& name, const std::vector<std::pair<std::uint16_t, std::string>>& list) {
    for (const auto& [preference, host] : list) {
      net::DnsRecord record;
      record.preference = preference;
      record.value = host;
      add(name, net::DnsType::mx, record);
    }
  }
  void temporary(const std::string& name) {
    for (const net::DnsType type : {net::DnsType::a, net::DnsType::aaaa, net::DnsType::mx}) {
      table_[{name, type}].status = net::DnsStatus::temporary;
    }
  }

  net::DnsAnswer query(std::string_view name, net::DnsType type, Deadline) override {
    const auto it = table_.find({std::string(name), type});
    if (it != table_.end()) return it->second;
    net::DnsAnswer out;
    out.status = net::DnsStatus::no_name;
    for (const auto& [key, answer] : table_) {
      if (key.first == name) out.status = net::DnsStatus::no_data;
    }
    return out;
  }
  void prefetch(std::string_view, net::DnsType) override {}

 private:
  void add(const std::string& name, net::DnsType type, const net::DnsRecord& record) {
    net::DnsAnswer& answer = table_[{name, type}];
    answer.status = net::DnsStatus::ok;
    answer.records.push_back(record);
  }
  std::map<std::pair<std::string, net::DnsType>, net::DnsAnswer> table_;
};

}  // namespace millrace::test
