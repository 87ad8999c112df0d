#include "core/map/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

#include "core/base/strings.h"
#include "core/map/literals.h"

namespace millrace::map {

namespace {
struct ThreadState {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(Regex::kMaxGroups + 1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 8 * 1024 * 1024, nullptr);
  ThreadState() {
    if (!context || !data || !stack) throw std::bad_alloc();
    pcre2_set_match_limit(context, Regex::kMatchLimit);
    pcre2_set_heap_limit(context, 16 * 1024);  // KiB
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~ThreadState() {
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};
ThreadState& thread_state() {
  thread_local ThreadState state;
  return state;
}
pcre2_compile_context* compile_context() {
  static pcre2_compile_context* const context = [] {
    pcre2_compile_context* made = pcre2_compile_context_create(nullptr);
    if (!made) throw std::bad_alloc();
    pcre2_set_newline(made, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(made, PCRE2_BSR_ANYCRLF);
    return made;
  }();
  return context;
}
}  // namespace

void Regex::Free::operator()(void* code) const { pcre2_code_free(static_cast<pcre2_code*>(code)); }

Result<Regex> Regex::compile(const std::string& pattern, unsigned options) {
  // \C would be refused with UTF only; UTF itself is not used: Postfix's patterns see bytes.
  std::uint32_t flags = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
  if (options & kCaseless) flags |= PCRE2_CASELESS;
  if (options & kMultiline) flags |= PCRE2_MULTILINE;
  if (options & kDotAll) flags |= PCRE2_DOTALL;
  if (options & kExtended) flags |= PCRE2_EXTENDED;
  if (options & kAnchored) flags |= PCRE2_ANCHORED;
  if (options & kDollarEndOnly) flags |= PCRE2_DOLLAR_ENDONLY;
  if (options & kUngreedy) flags |= PCRE2_UNGREEDY;
  if (options & kPosixCaret) flags |= PCRE2_ALT_CIRCUMFLEX;
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), flags,
                                   &error, &offset, compile_context());
  if (code == nullptr) {
    PCRE2_UCHAR text[256] = "";
    pcre2_get_error_message(error, text, sizeof text);
    return fail(Errc::protocol, "error in regex at offset " + std::to_string(offset) + ": " +
                                    reinterpret_cast<const char*>(text));
  }
  Regex out;
  out.code_ = std::shared_ptr<void>(code, Free());
  std::uint32_t groups = 0;
  pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
  out.groups_ = groups;
  // Without the JIT (a kernel that forbids writable code) the interpreter does the same work.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  if (!(options & (kMultiline | kExtended))) out.prefix_ = literal_prefix(pattern);
  if (!(options & kExtended)) out.literals_ = required_literals(pattern);
  out.caseless_ = (options & kCaseless) != 0;
  if (out.caseless_) out.prefix_ = lower(out.prefix_);
  return out;
}

Regex::Outcome Regex::match(std::string_view subject,
                            std::vector<std::pair<std::size_t, std::size_t>>* groups) const {
  if (!prefix_.empty()) {
    const std::string_view head = subject.substr(0, prefix_.size());
    if (caseless_ ? !iequals(head, prefix_) : head != prefix_) return Outcome::no;
  }
  ThreadState& state = thread_state();
  const int found = pcre2_match(static_cast<const pcre2_code*>(code_.get()),
                                reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), 0, 0,
                                state.data, state.context);
  if (found == PCRE2_ERROR_NOMATCH) return Outcome::no;
  if (found < 0) return Outcome::limit;
  if (groups != nullptr) {
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state.data);
    const std::size_t count = found == 0 ? kMaxGroups + 1 : static_cast<std::size_t>(found);
    groups->assign(groups_ + 1, {std::string_view::npos, std::string_view::npos});
    for (std::size_t i = 0; i < count && i < groups->size(); ++i) {
      // \K may put the begin behind the end.
      if (ends[2 * i] == PCRE2_UNSET || ends[2 * i] > ends[2 * i + 1]) continue;
      (*groups)[i] = {ends[2 * i], ends[2 * i + 1]};
    }
  }
  return Outcome::yes;
}

}  // namespace millrace::map
