// RFC 1035 responses to DnsAnswer.  Pure, bounded by the packet: each record costs at least 11 of
// its bytes, name compression may only point backwards, a chain of CNAMEs has an end.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>

#include "core/base/strings.h"
#include "core/net/dns.h"

namespace millrace::net {
namespace {

constexpr std::size_t kMaxName = 255;  // RFC 1035 section 3.1
constexpr int kMaxCnames = 16;

struct Name {
  std::string text;   // without final dot
  bool plain = true;  // no byte that could be mistaken for text of another name
  bool exact = true;  // text is the name itself: an SPF macro may ask for one with spaces (RFC 7208 7.1)
};

struct Reader {
  std::string_view packet;
  std::size_t at = 0;
  bool ok = true;

  std::size_t left() const { return packet.size() - at; }
  std::uint8_t byte() { return static_cast<std::uint8_t>(take(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(take(2)); }
  std::uint32_t u32() { return take(4); }

  std::uint32_t take(std::size_t size) {
    if (!ok || left() < size) {
      ok = false;
      return 0;
    }
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value = value << 8 | static_cast<std::uint8_t>(packet[at++]);
    return value;
  }

  Name name() {
    Name out;
    std::size_t jumped_to = packet.size(), after_first_jump = 0, wire = 0;
    bool jumped = false;
    for (;;) {
      const std::size_t here = at;
      const std::uint8_t length = byte();
      if (!ok) return out;
      if (length == 0) break;
      if ((length & 0xC0) == 0xC0) {
        const std::size_t target = static_cast<std::size_t>(length & 0x3F) << 8 | byte();
        // Backwards, and before every earlier jump: no loop is possible.
        if (!ok || target >= here || target >= jumped_to) {
          ok = false;
          return out;
        }
        if (!jumped) after_first_jump = at;
        jumped = true;
        at = jumped_to = target;
        continue;
      }
      wire += length + 1u;
      if (length > 63 || wire + 1 > kMaxName || left() < length) {
        ok = false;
        return out;
      }
      if (!out.text.empty()) out.text += '.';
      for (const char c : packet.substr(at, length)) {
        const bool odd = c == '.' || c == '\\' || static_cast<unsigned char>(c) < ' ' ||
                         static_cast<unsigned char>(c) >= 0x7F;
        out.exact = out.exact && !odd;
        out.plain = out.plain && !odd && c != ' ';
        out.text += odd ? '?' : c;
      }
      at += length;
    }
    if (jumped) at = after_first_jump;
    return out;
  }
};

struct RawRecord {
  Name owner;
  std::uint16_t type = 0;
  std::uint32_t ttl = 0;
  std::size_t data = 0, size = 0;
};

bool same(const Name& a, const Name& b) { return a.exact && b.exact && iequals(a.text, b.text); }

std::string address_text(int family, std::string_view bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, bytes.data(), text, sizeof text);
  return text;
}

// The record's value; nullopt when its data is malformed or no host name where one belongs.
std::optional<DnsRecord> decode(std::string_view packet, const RawRecord& raw) {
  DnsRecord out;
  out.ttl = raw.ttl > 0x7FFFFFFF ? 0 : raw.ttl;  // RFC 2181 section 8
  const std::string_view data = packet.substr(raw.data, raw.size);
  // Compressed names may point anywhere before; what is read in place must end where the data ends.
  Reader reader{packet.substr(0, raw.data + raw.size), raw.data, true};
  const auto host = [&] {
    Name name = reader.name();
    reader.ok = reader.ok && name.plain;
    out.value = std::move(name.text);
  };
  switch (static_cast<DnsType>(raw.type)) {
    case DnsType::a:
      if (data.size() != 4) return {};
      out.value = address_text(AF_INET, data);
      return out;
    case DnsType::aaaa:
      if (data.size() != 16) return {};
      out.value = address_text(AF_INET6, data);
      return out;
    case DnsType::mx:
      out.preference = reader.u16();
      host();
      break;
    case DnsType::srv:
      out.preference = reader.u16();
      out.weight = reader.u16();
      out.port = reader.u16();
      host();
      break;
    case DnsType::ns:
    case DnsType::cname:
    case DnsType::ptr:
      host();
      break;
    case DnsType::soa:
      host();
      reader.at = raw.data + raw.size;  // the primary server is all that is asked for
      break;
    case DnsType::txt:
      if (data.empty()) return {};
      while (reader.ok && reader.left() > 0) {
        const std::size_t length = reader.byte();
        if (reader.left() < length) return {};
        out.value += reader.packet.substr(reader.at, length);
        reader.at += length;
      }
      break;
    case DnsType::tlsa:
      if (data.size() < 4) return {};
      out.value = data;
      return out;
    default:
      out.value = data;
      return out;
  }
  if (!reader.ok || reader.left() != 0) return {};
  return out;
}

DnsAnswer failure(const Name& name, DnsType type, DnsStatus status) {
  DnsAnswer out;
  out.status = status;
  out.canonical_name = name.text;
  out.why = dns_failure_text(name.text, type, status);
  return out;
}

}  // namespace

DnsAnswer parse_dns_answer(std::string_view packet, DnsType type) {
  Reader reader{packet, 0, true};
  reader.u16();  // id: whoever received the packet has matched it
  const std::uint16_t flags = reader.u16();
  const std::uint16_t questions = reader.u16();
  const std::uint16_t answers = reader.u16();
  reader.u32();
  const bool is_response = (flags & 0x8000) != 0;
  Name name;
  if (reader.ok && is_response && questions == 1) {
    name = reader.name();
    reader.u32();  // type and class
  }
  const Name asked = name;
  if (!reader.ok || !is_response || questions != 1) return failure(asked, type, DnsStatus::invalid);
  const int rcode = flags & 0x000F;
  if (rcode == 3) return failure(asked, type, DnsStatus::no_name);
  if (rcode != 0) return failure(asked, type, DnsStatus::temporary);

  std::vector<RawRecord> records;
  for (unsigned i = 0; i < answers; ++i) {
    RawRecord record;
    record.owner = reader.name();
    record.type = reader.u16();
    const std::uint16_t klass = reader.u16();
    record.ttl = reader.u32();
    record.size = reader.u16();
    record.data = reader.at;
    if (!reader.ok || reader.left() < record.size) return failure(asked, type, DnsStatus::invalid);
    reader.at += record.size;
    if (klass == 1) records.push_back(std::move(record));
  }

  DnsAnswer out;
  for (int hops = 0; type != DnsType::cname; ++hops) {
    const RawRecord* alias = nullptr;
    for (const RawRecord& record : records) {
      if (record.type == static_cast<std::uint16_t>(DnsType::cname) && same(record.owner, name)) {
        alias = &record;
      }
    }
    if (alias == nullptr) break;
    const auto target = decode(packet, *alias);
    if (!target || hops == kMaxCnames) return failure(asked, type, DnsStatus::invalid);
    name = Name{target->value, true};
  }
  bool malformed = false;
  for (const RawRecord& record : records) {
    if (record.type != static_cast<std::uint16_t>(type) || !same(record.owner, name)) continue;
    if (auto value = decode(packet, record)) {
      out.records.push_back(std::move(*value));
    } else {
      malformed = true;
    }
  }
  if (out.records.empty()) {
    return failure(asked, type, malformed ? DnsStatus::invalid : DnsStatus::no_data);
  }
  out.status = DnsStatus::ok;
  out.canonical_name = name.text;
  return out;
}

std::string dns_type_name(DnsType type) {
  switch (type) {
    case DnsType::a:
      return "A";
    case DnsType::ns:
      return "NS";
    case DnsType::cname:
      return "CNAME";
    case DnsType::soa:
      return "SOA";
    case DnsType::ptr:
      return "PTR";
    case DnsType::mx:
      return "MX";
    case DnsType::txt:
      return "TXT";
    case DnsType::aaaa:
      return "AAAA";
    case DnsType::srv:
      return "SRV";
    case DnsType::tlsa:
      return "TLSA";
  }
  return fmt::format("TYPE{}", static_cast<unsigned>(type));
}

const char* dns_status_text(DnsStatus status) {
  switch (status) {
    case DnsStatus::ok: return "";
    case DnsStatus::no_data: return "Host found but no data record of requested type";
    case DnsStatus::no_name: return "Host not found";
    case DnsStatus::temporary:
    case DnsStatus::bogus: return "Host not found, try again";
    case DnsStatus::invalid: return "Malformed or unexpected name server reply";
  }
  return "";
}

std::string dns_failure_text(std::string_view name, DnsType type, DnsStatus status) {
  if (status == DnsStatus::ok) return "";
  const char* const who = status == DnsStatus::invalid ? "" : "Host or domain name not found. ";
  return fmt::format("{}Name service error for name={} type={}: {}", who, name, dns_type_name(type),
                     dns_status_text(status));
}

std::string reverse_labels(std::string_view address) {
  const std::string text(address);
  std::array<std::uint8_t, 16> bytes{};
  std::string out;
  if (text.find('\0') != std::string::npos) return out;
  if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) {
    return fmt::format("{}.{}.{}.{}", bytes[3], bytes[2], bytes[1], bytes[0]);
  }
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return out;
  for (std::size_t i = 16; i-- > 0;) {
    out += fmt::format("{}{:x}.{:x}", out.empty() ? "" : ".", bytes[i] & 0x0F, bytes[i] >> 4);
  }
  return out;
}

std::string reverse_name(std::string_view address) {
  const std::string labels = reverse_labels(address);
  if (labels.empty()) return labels;
  return labels + (address.find(':') == std::string_view::npos ? ".in-addr.arpa" : ".ip6.arpa");
}

}  // namespace millrace::net
