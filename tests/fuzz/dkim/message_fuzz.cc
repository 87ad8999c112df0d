// A message and a key record as peers may send them: header section, NUL, body, NUL, record.  The first byte says how
// the body is cut.
#include <cstdint>

#include "core/base/assert.h"
#include "plugins/dkim/author.h"
#include "plugins/dkim/engine.h"
#include "plugins/dkim/tags.h"

using namespace millrace::dkim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = data[0] % 64 + 1;
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t first = std::min(all.find('\0'), all.size()), second = std::min(all.find('\0', first + 1), all.size());
  const std::string_view body = all.substr(std::min(first + 1, all.size()), second > first ? second - first - 1 : 0);
  const std::string_view record = all.substr(std::min(second + 1, all.size()));
  Mail mail = split_header(all.substr(0, first));
  mail.body = [&](const std::function<void(std::string_view)>& each) {
    for (std::size_t at = 0; at < body.size(); at += piece) each(body.substr(at, piece));
    return true;
  };
  std::size_t left = 0;
  const auto signatures = find_signatures(mail, 1'700'000'000, 5, left);
  Keys keys;
  for (const Signature& one : signatures) {
    if (one.problem != Result::none) continue;
    MR_ASSERT(is_domain(one.key_name()) && one.b_begin <= one.b_end && one.b_end <= mail.fields[one.field].size());
    (void)parse_key(record, one);
    keys[lower(one.key_name())] = {KeyAnswer::Status::found, std::string(record)};
  }
  static const auto engine = make_openssl_engine({});
  MR_ASSERT(engine->verify(mail, signatures, keys).size() == signatures.size());
  for (const std::string_view field : mail.fields) (void)parse_author(field);
  for (const Canon canon : {Canon::simple, Canon::relaxed}) {
    BodyCanon whole(canon), pieces(canon);
    std::string a, b;
    whole.add(body, a);
    whole.finish(a);
    for (std::size_t at = 0; at < body.size(); at += piece) pieces.add(body.substr(at, piece), b);
    pieces.finish(b);
    MR_ASSERT(a == b && a.size() <= body.size() + 2);
  }
  return 0;
}
