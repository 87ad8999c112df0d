#include "core/submit/queue_file.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "core/submit/record.h"

using namespace millrace;
using namespace millrace::submit;

namespace {

struct Read {
  Result<QueueFile> file = fail(Errc::internal, "");
  std::string content;
};

Read read(const std::string& bytes, const std::set<std::string>& unreported = {}, std::size_t limit = 1000) {
  Read out;
  out.file = read_queue_file(bytes, unreported, limit, [&](std::string_view piece) -> Result<void> {
    out.content += piece;
    return {};
  });
  return out;
}

void put(std::string& out, char type, const std::string& text) { encode_record(type, text, out); }

const std::string kSize = fmt::format("{:>15} {:>15} {:>15} {:>15} {:>15} {:>15}", 10, 100, 1, 0, 10, 1);

std::string envelope() {
  std::string out;
  put(out, 'C', kSize);
  put(out, 'T', "1795275332 913");
  put(out, 'A', "rewrite_context=local");
  put(out, 'A', "ret_flags=2");
  put(out, 'A', "envelope_id=e1");
  put(out, 'A', "client_address=192.0.2.1");
  put(out, 'F', "Joe");
  put(out, 'S', "joe@here");
  put(out, 'A', "notify_flags=10");
  put(out, 'A', "dsn_orig_rcpt=rfc822;first");
  put(out, 'O', "first");
  put(out, 'R', "a@dest");
  put(out, 'A', "dsn_orig_rcpt=rfc822;gone");
  put(out, 'O', "gone");
  put(out, 'D', "gone@dest");
  put(out, '/', "canceled@dest");
  put(out, 'R', "b@dest");
  return out;
}

}  // namespace

TEST_CASE("queue file: envelope, content and the recipients that are left", "[queue_file]") {
  std::string bytes = envelope();
  put(bytes, 'W', "0");
  put(bytes, 'M', "");
  put(bytes, 'N', "Subject: x");
  put(bytes, 'N', "");
  put(bytes, 'L', "half ");
  put(bytes, 'N', "line\rx");
  put(bytes, 'X', "");
  put(bytes, 'R', "c@dest");
  put(bytes, 'E', "");
  const Read got = read(bytes);
  REQUIRE(got.file);
  const mime::Envelope& e = got.file->envelope;
  CHECK(e.sender == "joe@here");
  CHECK(e.arrival == 1795275332000913);
  CHECK(e.ret == mime::Ret::headers);
  CHECK(e.envid == "e1");
  CHECK(e.client_address == "192.0.2.1");
  CHECK(e.smtputf8);
  CHECK(got.file->delay_warned);
  REQUIRE(e.recipients.size() == 3);
  CHECK(e.recipients[0].address == "a@dest");
  CHECK(e.recipients[0].original == "first");
  CHECK(e.recipients[0].orcpt == "rfc822;first");
  CHECK(e.recipients[0].notify == 10);
  CHECK(e.recipients[1].address == "b@dest");
  CHECK(e.recipients[1].orcpt.empty());
  CHECK(e.recipients[2].address == "c@dest");
  CHECK(got.content == "Subject: x\r\n\r\nhalf line x\r\n");
  // A failure that the sender was not told of fails again.
  CHECK(read(bytes, {"gone@dest"}).file->envelope.recipients.size() == 4);
  CHECK(read(bytes, {}, 2).file.error().code == Errc::too_large);
  for (std::size_t length = 0; length < bytes.size(); ++length) CHECK_FALSE(read(bytes.substr(0, length)).file);
}

TEST_CASE("queue file: edits are followed, circles and wild pointers are not", "[queue_file]") {
  const auto with_pointer = [](const std::string& target, const std::string& back) {
    std::string bytes = envelope();
    put(bytes, 'M', "");
    put(bytes, 'p', target);
    put(bytes, 'N', "Subject: old");
    put(bytes, 'w', "padding");
    const std::size_t after = bytes.size();
    put(bytes, 'N', "");
    put(bytes, 'N', "body");
    put(bytes, 'p', fmt::format("{:>15}", 0));
    put(bytes, 'X', "");
    put(bytes, 'E', "");
    const std::size_t fresh = bytes.size();
    put(bytes, 'N', "Subject: new");
    put(bytes, 'p', back.empty() ? fmt::format("{:>15}", after) : back);
    return std::pair(bytes, fresh);
  };
  const std::size_t fresh = with_pointer(std::string(15, ' '), "").second;
  const Read good = read(with_pointer(fmt::format("{:>15}", fresh), "").first);
  REQUIRE(good.file);
  CHECK(good.content == "Subject: new\r\n\r\nbody\r\n");
  CHECK_FALSE(read(with_pointer(fmt::format("{:>15}", fresh), fmt::format("{:>15}", fresh)).first).file);
  CHECK_FALSE(read(with_pointer("99999999", "").first).file);
  CHECK_FALSE(read(with_pointer("-1", "").first).file);
  CHECK_FALSE(read(with_pointer("", "").first).file);
}

TEST_CASE("queue file: what is none", "[queue_file]") {
  CHECK_FALSE(read("").file);
  CHECK_FALSE(read("garbage that is long enough").file);
  std::string bytes;
  put(bytes, 'C', kSize);
  put(bytes, 'M', "");
  put(bytes, 'X', "");
  put(bytes, 'E', "");
  CHECK_FALSE(read(bytes).file);   // no sender
  bytes.clear();
  put(bytes, 'T', "1 2");   // still in cleanup's hands
  CHECK_FALSE(read(bytes).file);
  bytes = envelope();
  put(bytes, 'R', "evil\n@x");
  CHECK_FALSE(read(bytes).file);
}

TEST_CASE("queue file: files that Debian's Postfix wrote", "[queue_file]") {
  for (const char* name : {"real0", "real1", "real2", "real3"}) {
    std::ifstream in(std::string("tests/fuzz/corpus/queue_file/") + name, std::ios::binary);
    REQUIRE(in);
    std::stringstream bytes;
    bytes << in.rdbuf();
    const Read got = read(bytes.str());
    REQUIRE(got.file);
    CHECK(got.file->envelope.recipients.size() >= 1);
    CHECK(got.file->envelope.arrival > 1000000);
    CHECK(got.content.find("Received: by mx.mill.example (Postfix") == 0);
    CHECK(got.content.ends_with("\r\n"));
  }
}

TEST_CASE("queue file: who failed already", "[queue_file]") {
  CHECK(failed_recipients("<a@b>: no\nrecipient=a@b\noffset=9\nreason=x recipient=no\n\nrecipient=c@d\n") ==
        std::set<std::string>{"a@b", "c@d"});
}
