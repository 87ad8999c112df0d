// libspf2 as a second engine: the same question, answered by the library that others use.
//
// For comparison, not for trust: it passes fewer of the suite's cases than evaluator.h, takes an over-long chain of
// includes for a pass, and its explanations lose their spaces (so there are none here).  What it needs of DNS goes
// through the same resolver; what is known to break it is kept from it: names and texts that are none of DNS's,
// mapped addresses, type 99.
#pragma once

#include "plugins/spf/evaluator.h"

namespace millrace::spf {

Outcome check_with_libspf2(Resolver& resolver, const Query& query);

}  // namespace millrace::spf
