// The milter client: one filter of the chain, a connection per SMTP session.
//
// Promises: events, macros and answers as Postfix's smtpd and cleanup exchange them; a filter that is not
// there, late, dead or talks nonsense gets its default_action for the rest of the session; edits reach the
// journal whole or not at all.  Headers and body pieces a filter does not answer leave in few writes; the
// body is never held as a whole.  Not here: emulated sessions for mail that came without SMTP.
#pragma once

#include <memory>

#include "core/filter/chain.h"
#include "core/milter/settings.h"

namespace millrace::milter {

std::shared_ptr<filter::Filter> make_milter(Settings settings, filter::Options options);

}  // namespace millrace::milter
