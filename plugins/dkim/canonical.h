// Canonicalization (RFC 6376 section 3.4) and the choice of fields a signature covers.  Pure; the body is taken in
// pieces of any size, and what is withheld between them is a count, not text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::dkim {

enum class Canon { simple, relaxed };

// Appends a field with its final CRLF.  `field` is whole, folds as CRLF, without the final one.
void canonical_field(std::string_view field, Canon canon, std::string& out);
// The field's name without white space after it, as written; "" when there is no colon.
std::string_view field_name(std::string_view field);

class BodyCanon {
 public:
  explicit BodyCanon(Canon canon) : canon_(canon) {}
  void add(std::string_view bytes, std::string& out);   // appends
  void finish(std::string& out);

 private:
  void simple(std::string_view bytes, std::string& out);
  void relaxed(std::string_view bytes, std::string& out);
  void flush_lines(std::string& out);

  Canon canon_;
  std::uint64_t lines_ = 0;   // CRLFs withheld: they may be the end
  bool cr_ = false, space_ = false, any_ = false;
};

// Which of `names` (those of the message's fields in order, lower case) the list h= means: from the bottom up, one more
// field each time a name is repeated; names that have no field left are left out.  `own` is not to be taken.
std::vector<std::size_t> select_fields(const std::vector<std::string>& names, const std::vector<std::string>& wanted, std::size_t own);

}  // namespace millrace::dkim
