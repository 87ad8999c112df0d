#include "core/rewrite/address_list.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::rewrite {

namespace {

constexpr std::string_view kSpecials = "|\"(),.:;<>@[]%!";

// The end of what begins at `at`: a comment (they nest), a quoted string, a literal, a run of other
// characters, or one special.
std::size_t lexeme_end(std::string_view text, std::size_t at) {
  const char first = text[at];
  const auto closed_by = [&](char close) {
    std::size_t i = at + 1;
    while (i < text.size() && text[i] != close) i += text[i] == '\\' ? 2 : 1;
    return std::min(i + 1, text.size());
  };
  if (first == '"') return closed_by('"');
  if (first == '[') return closed_by(']');
  if (first == '(') {
    std::size_t i = at + 1;
    for (int depth = 1; i < text.size() && depth > 0; ++i) {
      if (text[i] == '\\') ++i;
      else if (text[i] == '(') ++depth;
      else if (text[i] == ')') --depth;
    }
    return std::min(i, text.size());
  }
  if (kSpecials.find(first) != kSpecials.npos) return at + 1;
  std::size_t i = at;
  while (i < text.size() && !is_space(text[i]) && kSpecials.find(text[i]) == kSpecials.npos) i += text[i] == '\\' ? 2 : 1;
  return std::min(i, text.size());
}

class Finder {
 public:
  Finder(std::string_view text, std::size_t limit) : text_(text), limit_(limit) {}

  std::vector<AddressSpan> run() {
    bool bracket = false;     // between < and >
    bool named = false;       // this element had its <address>
    for (std::size_t at = 0, count = 0; at < text_.size();) {
      if (is_space(text_[at])) {
        ++at;
        continue;
      }
      const std::size_t end = lexeme_end(text_, at);
      const char c = text_[at];
      if (c == '(') {
        if (!empty()) pending_.append(" ").append(text_.substr(at, end - at));
      } else if (++count > limit_) {
        return std::move(found_);   // the element is cut: nothing is known of it
      } else if (bracket ? c == '>' : (c == ',' || c == ';' || c == ':' || c == '<')) {
        // What ends here is an address, unless it is a display name, a group's name, or follows the address.
        if (c == '>' || (!named && (c == ',' || c == ';'))) close(bracket);
        else clear();
        bracket = c == '<';
        named = c == '>' || c == '<';
      } else {
        if (empty()) begin_ = at;
        comments_ += pending_;
        pending_.clear();
        end_ = end;
      }
      at = end;
    }
    if (!bracket && !named) close(false);
    return std::move(found_);
  }

 private:
  bool empty() const { return end_ == 0; }
  void clear() {
    begin_ = end_ = 0;
    comments_.clear();
    pending_.clear();
  }
  void close(bool bracketed) {
    if (!empty()) {
      AddressSpan span{begin_, end_, scan_address(text_.substr(begin_, end_ - begin_)), std::move(comments_), false};
      const auto word = [](const Token& token) { return token.kind != Token::Kind::special; };
      span.phrase = !bracketed && std::adjacent_find(span.tokens.begin(), span.tokens.end(), [&](const Token& a, const Token& b) {
                                    return word(a) && word(b);
                                  }) != span.tokens.end();
      if (!span.tokens.empty()) found_.push_back(std::move(span));
    }
    clear();
  }

  std::string_view text_;
  std::size_t limit_;
  std::size_t begin_ = 0, end_ = 0;      // of the element so far, comments at its ends left out
  std::string comments_, pending_;       // inside it, and after its last token
  std::vector<AddressSpan> found_;
};

}  // namespace

std::vector<AddressSpan> find_addresses(std::string_view text, std::size_t token_limit) {
  return Finder(text, token_limit).run();
}

Result<bool> edit_addresses(std::string& text, std::size_t token_limit, const AddressEdit& edit) {
  std::string out;
  std::size_t copied = 0;
  bool changed = false;
  for (const AddressSpan& span : find_addresses(text, token_limit)) {
    if (span.phrase) continue;
    auto edited = edit(span.tokens);
    if (!edited) return tl::unexpected(edited.error());
    if (!*edited) continue;
    out.append(text, copied, span.begin - copied).append(map::quote_address(**edited)).append(span.comments);
    copied = span.end;
    changed = true;
  }
  if (changed) text = out.append(text, copied);
  return changed;
}

}  // namespace millrace::rewrite
