#include "core/submit/record.h"

#include <catch2/catch.hpp>

using namespace millrace::submit;

TEST_CASE("record: the bytes are Postfix's", "[record]") {
  std::string out;
  encode_record('N', "abc", out);
  encode_record('M', "", out);
  CHECK(out == std::string("N\x03"
                           "abcM\0",
                           7));
  out.clear();
  encode_record('L', std::string(300, 'x'), out);
  CHECK(out.substr(0, 3) == "L\xAC\x02");
}

TEST_CASE("record: every prefix wants more, any length comes back", "[record]") {
  for (const std::size_t length : {0U, 1U, 127U, 128U, 16383U, 16384U, 131072U}) {
    std::string bytes;
    encode_record('N', std::string(length, 'y'), bytes);
    for (std::size_t part = 0; part < bytes.size(); part += 1 + part / 3) {
      CHECK(decode_record(std::string_view(bytes).substr(0, part)).status == RecordStatus::need_more);
    }
    const DecodedRecord decoded = decode_record(bytes + "rest");
    REQUIRE(decoded.status == RecordStatus::ok);
    CHECK(decoded.consumed == bytes.size());
    CHECK(decoded.record.type == 'N');
    CHECK(decoded.record.text.size() == length);
  }
}

TEST_CASE("record: what is too long is refused before it is waited for", "[record]") {
  CHECK(decode_record("N\x81\x80\x08").status == RecordStatus::bad);   // 131073
  CHECK(decode_record("N\xff\xff\xff\xff\xff\x01").status == RecordStatus::bad);
  CHECK(decode_record("N\x03", 2).status == RecordStatus::bad);
}

TEST_CASE("record: the order of a maildrop file", "[record]") {
  const auto good = [](std::string_view types) {
    RecordOrder order;
    for (const char type : types) {
      if (!order.accept(type)) return false;
    }
    return order.done();
  };
  CHECK(good("TFASARRMNLNXE"));
  CHECK(good("SMXARE"));
  for (const char* bad : {"", "S", "MXE", "RSMXE", "SSMXE", "SMNE", "SMRXE", "SMXNE", "SMXEE", "SMXEN", "SNMXE", "CSMXE", "SMXSE"}) {
    INFO(bad);
    CHECK_FALSE(good(bad));
  }
}
