// The DNS record of a key, as zone files and name servers take it.
#include <catch2/catch.hpp>

#include "core/tools/dkim_tool.h"

using namespace millrace::tools;

TEST_CASE("dkim genkey: a short record is one string", "[tools]") {
  CHECK(zone_text("example.com", "s", "v=DKIM1; k=ed25519; p=AAAA") == "s._domainkey.example.com.\tIN\tTXT\t( \"v=DKIM1; k=ed25519; p=AAAA\" )\n");
}

TEST_CASE("dkim genkey: a long one is split at 255 octets", "[tools]") {
  const std::string key(600, 'K');
  CHECK(zone_text("example.com", "s", "v=DKIM1; k=rsa; p=" + key) ==
        "s._domainkey.example.com.\tIN\tTXT\t( \"v=DKIM1; k=rsa; \"\n\t\"p=" + key.substr(0, 253) + "\"\n\t\"" + key.substr(0, 255) + "\"\n\t\"" +
            key.substr(0, 92) + "\" )\n");
}
