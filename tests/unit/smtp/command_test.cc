#include "core/smtp/command.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::smtp;

namespace {
std::string joined(std::string_view line) {
  std::string out;
  for (const Word& word : split_words(line)) out += "{" + word.text + (word.unclosed ? "!" : "") + "}";
  return out;
}
std::string describe(const std::optional<ParameterError>& error) {
  return error ? std::to_string(error->code) + " " + error->enhanced + " " + error->text : "ok";
}
std::string mail(std::string_view line, Extensions extensions = {}) {
  MailParameters out;
  return describe(parse_mail_parameters(split_words(line), 3, extensions, out));
}
std::string rcpt(std::string_view line) {
  RcptParameters out;
  return describe(parse_rcpt_parameters(split_words(line), 3, {}, out));
}
}  // namespace

TEST_CASE("smtp command: words", "[smtp][command]") {
  CHECK(joined("MAIL FROM:<a@b> SIZE=1") == "{MAIL}{FROM:}{<a@b>}{SIZE=1}");
  CHECK(joined("mail from: <a b> x") == "{mail}{from:}{<a b>}{x}");
  CHECK(joined("RCPT TO:\"Full Name\" <a>") == "{RCPT}{TO:}{\"Full Name\"}{<a>}");
  CHECK(joined("RCPT TO:<a@b>SIZE=10") == "{RCPT}{TO:}{<a@b>SIZE=10}");
  CHECK(joined("RCPT TO:<\"a>b\"@c>") == "{RCPT}{TO:}{<\"a>b\"@c>}");
  CHECK(joined("RCPT TO:<a") == "{RCPT}{TO:}{<a!}");
  CHECK(joined("RCPT TO:<\"a@b>") == "{RCPT}{TO:}{<\"a@b>!}");
  CHECK(joined("  NOOP\t x ") == "{NOOP}{x}");
  CHECK(joined("") == "");
  CHECK(joined(" \t ") == "");
  CHECK(joined("a\\ b c") == "{a\\ b}{c}");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "x ";
  CHECK(split_words(many).size() == kMaxWords);
}

TEST_CASE("smtp command: xtext", "[smtp][command]") {
  CHECK(decode_xtext("a+2Bb") == "a+b");
  CHECK_FALSE(decode_xtext("a+2"));
  CHECK_FALSE(decode_xtext("a+2b"));
  CHECK_FALSE(decode_xtext("+"));
  CHECK(encode_xtext("b c+\"=\xC3\xBC") == "b+20c+2B\"+3D+C3+BC");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  CHECK(decode_xtext(encode_xtext(all)) == all);
}

TEST_CASE("smtp command: MAIL parameters as Postfix answers them", "[smtp][command]") {
  CHECK(mail("MAIL FROM:<a> SIZE=2999 BODY=8bitmime SMTPUTF8 AUTH=<> RET=FULL ENVID=keep+2Bok") == "ok");
  CHECK(mail("MAIL FROM:<a> SIZE=abc") == "501 5.5.4 Bad message size syntax");
  CHECK(mail("MAIL FROM:<a> SIZE=-1") == "501 5.5.4 Bad message size syntax");
  CHECK(mail("MAIL FROM:<a> SIZE") == "555 5.5.4 Unsupported option: SIZE");
  CHECK(mail("MAIL FROM:<a> SIZE=99999999999999999999") == "552 5.3.4 Message size exceeds file system imposed limit");
  CHECK(mail("MAIL FROM:<a> BODY=BINARYMIME") == "555 5.5.4 Unsupported option: BODY=BINARYMIME");
  CHECK(mail("MAIL FROM:<a> SMTPUTF8=yes") == "555 5.5.4 Unsupported option: SMTPUTF8=yes");
  CHECK(mail("MAIL FROM:<a> SMTPUTF8", {false, true}) == "555 5.5.4 Unsupported option: SMTPUTF8");
  CHECK(mail("MAIL FROM:<a> RET=SOME") == "501 5.5.4 Bad RET parameter syntax");
  CHECK(mail("MAIL FROM:<a> RET=FULL RET=HDRS") == "501 5.5.4 Bad RET parameter syntax");
  CHECK(mail("MAIL FROM:<a> ENVID=") == "501 5.5.4 Bad ENVID parameter syntax");
  CHECK(mail("MAIL FROM:<a> ENVID=bad+value") == "501 5.5.4 Bad ENVID parameter syntax");
  CHECK(mail("MAIL FROM:<a> RET=FULL", {true, false}) == "501 5.7.1 DSN support is disabled");
}

TEST_CASE("smtp command: RCPT parameters as Postfix answers them", "[smtp][command]") {
  CHECK(rcpt("RCPT TO:<b> NOTIFY=success,FAILURE,success ORCPT=rfc822;a+2Bb@c") == "ok");
  CHECK(rcpt("RCPT TO:<b> NOTIFY=NEVER") == "ok");
  CHECK(rcpt("RCPT TO:<b> ORCPT=rfc822;") == "ok");
  for (const char* bad : {"NOTIFY=", "NOTIFY=OTHER", "NOTIFY=NEVER,FAILURE", "NOTIFY=DELAY,", "NOTIFY=DELAY NOTIFY=DELAY"}) {
    CAPTURE(bad);
    CHECK(rcpt(std::string("RCPT TO:<b> ") + bad) == "501 5.5.4 Error: Bad NOTIFY parameter syntax");
  }
  for (const char* bad : {"ORCPT=orig@dest", "ORCPT=;x", "ORCPT=rfc822;a+2", "ORCPT=rfc822;a ORCPT=rfc822;a"}) {
    CAPTURE(bad);
    CHECK(rcpt(std::string("RCPT TO:<b> ") + bad) == "501 5.5.4 Error: Bad ORCPT parameter syntax");
  }
  CHECK(rcpt("RCPT TO:<b> junk") == "555 5.5.4 Unsupported option: junk");
}

TEST_CASE("smtp command: BDAT arguments", "[smtp][command]") {
  const auto chunk = [](std::string_view line) {
    const auto out = parse_chunk(split_words(line));
    return out ? std::to_string(out->size) + (out->last ? " last" : "") : "bad";
  };
  CHECK(chunk("BDAT 0") == "0");
  CHECK(chunk("BDAT 12 last") == "12 last");
  for (const char* bad : {"BDAT", "BDAT x LAST", "BDAT -1", "BDAT 5 FIRST", "BDAT 5 LAST x", "BDAT 99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(chunk(bad) == "bad");
  }
}
