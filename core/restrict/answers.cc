// The DNS answers of a transaction: see answers.h.
#include "core/restrict/answers.h"

#include "core/base/strings.h"

namespace millrace::restrict {

namespace {
// A transaction of a thousand recipients has a thousand domains; what is forgotten is in the resolver's cache.
constexpr std::size_t kMostAnswers = 200;
}  // namespace

Answers::Asked& Answers::ask(net::Resolver& resolver, std::string_view name, net::DnsType type) {
  std::pair<std::string, net::DnsType> key(lower(name), type);
  const auto found = asked_.find(key);
  if (found != asked_.end()) return found->second;
  if (asked_.size() >= kMostAnswers) asked_.clear();
  Asked& fresh = asked_[std::move(key)];
  fresh.question = resolver.start(name, type);
  return fresh;
}

void Answers::start(net::Resolver& resolver, std::string_view name, net::DnsType type) { (void)ask(resolver, name, type); }

net::DnsAnswer Answers::get(net::Resolver& resolver, std::string_view name, net::DnsType type, Deadline deadline,
                            bool* first) {
  Asked& asked = ask(resolver, name, type);
  if (first != nullptr) *first = !asked.told;
  asked.told = true;
  return asked.question->answer(deadline);
}

}  // namespace millrace::restrict
