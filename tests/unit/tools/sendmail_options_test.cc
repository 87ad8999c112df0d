#include "core/tools/sendmail_options.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;
using Mode = SendmailRequest::Mode;

TEST_CASE("sendmail: the command lines of cron, PHP, mailx and scripts", "[sendmail]") {
  auto request = parse_sendmail({"-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"});
  CHECK(request.problem.empty());
  CHECK(request.full_name == "CronDaemon");
  CHECK_FALSE(request.dot_ends);
  CHECK(request.body == mime::BodyType::eight_bit);
  CHECK(request.recipients == std::vector<std::string>{"root"});
  request = parse_sendmail({"-t", "-i", "-f", "www@x"});
  CHECK(request.extract);
  CHECK(request.sender == "www@x");
  CHECK(parse_sendmail({"-ti"}).extract);
  CHECK_FALSE(parse_sendmail({"-oi", "-oeq", "a"}).dot_ends);
  CHECK(parse_sendmail({"-f", ""}).sender_given);
  CHECK(parse_sendmail({"-Nsuccess,DELAY"}).notify == 10);
  CHECK(parse_sendmail({"-N", "never,delay"}).notify == 0);
  CHECK(parse_sendmail({"-Rhdrs", "-V", "id1"}).ret == mime::Ret::headers);
  CHECK(parse_sendmail({"-C", "/etc/x/main.cf"}).config_directory == "/etc/x");
  CHECK(parse_sendmail({"-C", "/etc/x/"}).config_directory == "/etc/x");
}

TEST_CASE("sendmail: modes", "[sendmail]") {
  CHECK(parse_sendmail({"-bp"}).mode == Mode::list_queue);
  CHECK(parse_sendmail({"-bi"}).mode == Mode::new_aliases);
  CHECK(parse_sendmail({"-I"}).mode == Mode::new_aliases);
  CHECK(parse_sendmail({"-bs"}).mode == Mode::smtp);
  CHECK(parse_sendmail({"-bv", "a"}).mode == Mode::verify);
  CHECK(parse_sendmail({"-bd", "-q15m"}).mode == Mode::daemon);
  CHECK(parse_sendmail({"-q15m"}).mode == Mode::nothing);
  CHECK(parse_sendmail({"-q"}).mode == Mode::flush);
  CHECK(parse_sendmail({"-qRdest.example"}).site == "dest.example");
  CHECK(parse_sendmail({"-qI123"}).mode == Mode::flush_message);
  CHECK(parse_sendmail({"-bh"}).mode == Mode::nothing);
  CHECK(parse_sendmail({}).mode == Mode::submit);
}

TEST_CASE("sendmail: operands are never options", "[sendmail]") {
  CHECK(parse_sendmail({"--", "-t"}).recipients == std::vector<std::string>{"-t"});
  CHECK(parse_sendmail({"a@b", "-t"}).recipients == std::vector<std::string>{"a@b", "-t"});
  CHECK_FALSE(parse_sendmail({"a@b", "-t"}).extract);
}

TEST_CASE("sendmail: mistakes", "[sendmail]") {
  CHECK(parse_sendmail({"-z"}).problem == "invalid option -- 'z'");
  CHECK(parse_sendmail({"-f"}).problem == "option requires an argument -- 'f'");
  CHECK(parse_sendmail({"-bx"}).problem == "unsupported: -bx");
  CHECK(parse_sendmail({"-b", ""}).problem == "unsupported: -b");
  CHECK(parse_sendmail({"-qSx"}).problem == "-qS is not implemented");
  CHECK(parse_sendmail({"-qR"}).problem == "specify: -qRsitename");
  CHECK(parse_sendmail({"-B9"}).problem == "-B option needs 8BITMIME or 7BIT");
  CHECK(parse_sendmail({"-Xlog"}).problem == "unsupported: -Xl");
  CHECK(parse_sendmail({"-n"}).problem == "-n option not supported");
  CHECK(parse_sendmail({"-N", "bogus"}).warnings.size() == 2);
  CHECK(parse_sendmail({"-o", ""}).problem.empty());
  CHECK(parse_sendmail({"-oA"}).problem == "-oA requires pathname");
  CHECK(parse_sendmail({"-oAhash:/x"}).alias_database == "hash:/x");
}

TEST_CASE("sendmail: every form of -V and -XV", "[sendmail]") {
  CHECK(parse_sendmail({"-V", "an id"}).envid == "an id");
  CHECK(parse_sendmail({"-Vanid"}).envid == "anid");
  CHECK(parse_sendmail({"-V", std::string(101, 'x')}).envid.empty());
  CHECK(parse_sendmail({"-V", "a\x01z"}).warnings == std::vector<std::string>{"bad syntax in -V option value -- ignored"});
  auto request = parse_sendmail({"-XV", "a@b"});
  CHECK(request.verp);
  CHECK_FALSE(request.verp_delimiters);
  CHECK(request.recipients == std::vector<std::string>{"a@b"});
  CHECK(parse_sendmail({"-XV+="}).verp_delimiters == "+=");
  CHECK(parse_sendmail({"-X", "V-="}).verp_delimiters == "-=");
  CHECK(parse_sendmail({"-iXV"}).verp_delimiters == "");
  // Postfix before 2.3.
  request = parse_sendmail({"-V=+", "a@b"});
  CHECK(request.verp_delimiters == "=+");
  CHECK(request.warnings == std::vector<std::string>{"option -V=+ is deprecated with Postfix 2.3; specify -XV=+ instead"});
  request = parse_sendmail({"-V", "a@", "c@d"});
  CHECK(request.verp);
  CHECK(request.recipients == std::vector<std::string>{"a@", "c@d"});
}

TEST_CASE("sendmail: what does not go together", "[sendmail]") {
  CHECK(parse_sendmail({"-bp", "-t"}).problem == "-t can be used only in delivery mode");
  CHECK(parse_sendmail({"-bv", "-t"}).problem == "-t option cannot be used with -bv");
  CHECK(parse_sendmail({"-bv", "-N", "never", "a"}).problem == "-N option cannot be used with -bv");
  CHECK(parse_sendmail({"-bv", "-R", "full", "a"}).problem == "-R option cannot be used with -bv");
  CHECK(parse_sendmail({"-v", "-bv", "a"}).problem == "-v option cannot be used with -bv");
  CHECK(parse_sendmail({"-qRx", "-bp"}).problem == "-qR can be used only in delivery mode");
  CHECK(parse_sendmail({"-bp", "-qIx"}).problem == "-qI can be used only in delivery mode");
  CHECK(parse_sendmail({"-qRx", "a"}).problem == "flush site requires no recipient");
  CHECK(parse_sendmail({"-bp", "a"}).problem == "display queue mode requires no recipient");
  CHECK(parse_sendmail({"-q", "a"}).problem == "flush queue mode requires no recipient");
  CHECK(parse_sendmail({"-bi", "a"}).problem == "alias initialization mode requires no recipient");
  CHECK(parse_sendmail({"-bs", "a"}).problem == "stand-alone mode requires no recipient");
  CHECK(parse_sendmail({"-v", "a"}).record);
  CHECK_FALSE(parse_sendmail({"-v", "-v", "a"}).record);
}
