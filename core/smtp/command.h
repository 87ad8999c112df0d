// The SMTP command line: words, and the ESMTP parameters of MAIL and RCPT.  Pure functions over one line
// without CRLF, with Postfix's leniency (words may be quoted or bracketed, "FROM:<a@b>" is two words).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mime/envelope.h"

namespace millrace::smtp {

struct Word {
  std::string text;
  bool unclosed = false;   // a quote or bracket that never ends
};

// The words of a line; never more than kMaxWords (the rest is one last word).
constexpr std::size_t kMaxWords = 64;
std::vector<Word> split_words(std::string_view line);

// RFC 3461 section 4.  nullopt: not xtext.
std::optional<std::string> decode_xtext(std::string_view text);
std::string encode_xtext(std::string_view text);

// What a parameter list was worth: a failure is a reply in words.
struct ParameterError {
  int code;
  const char* enhanced;
  std::string text;
};

// Which extensions may be used now; the others get their words refused.
struct Extensions {
  bool smtputf8 = true, dsn = true;
  bool verp = false;                    // XVERP, Postfix's own
  std::string_view verp_default{}, verp_allowed{};   // default_verp_delimiters, verp_delimiter_filter
};

struct MailParameters {
  mime::BodyType body = mime::BodyType::unset;
  bool smtputf8 = false;
  std::uint64_t size = 0;
  mime::Ret ret = mime::Ret::unset;
  std::string envid;          // xtext as received
  std::string verp;           // the two delimiters, "": not asked for
};

struct RcptParameters {
  unsigned notify = 0;
  std::string orcpt;          // "rfc822;…" as received
};

// `words` are those after the address.  First error wins.
std::optional<ParameterError> parse_mail_parameters(const std::vector<Word>& words, std::size_t first,
                                                    const Extensions& extensions, MailParameters& out);
std::optional<ParameterError> parse_rcpt_parameters(const std::vector<Word>& words, std::size_t first,
                                                    const Extensions& extensions, RcptParameters& out);

// BDAT's arguments (RFC 3030 section 2).
struct Chunk {
  std::uint64_t size = 0;
  bool last = false;
};
std::optional<Chunk> parse_chunk(const std::vector<Word>& words);

}  // namespace millrace::smtp
