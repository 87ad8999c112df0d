/* Every type that crosses the border, as the compiler lays it out: what abidiff compares with the committed description.
 * types.inc is made by check.sh from the header. */
#include <millrace/plugin.h>

#define USES(type) \
  const type *uses_##type(const type *p); \
  const type *uses_##type(const type *p) { return p; }
#include "types.inc"

enum codes { codes_of_returns = MR_E_LIMIT, codes_of_stages = MR_STAGE_UNKNOWN, codes_of_actions = MR_DISCONNECT };
enum codes uses_codes(void);
enum codes uses_codes(void) { return codes_of_returns; }
