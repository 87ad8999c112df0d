-- Refuses clients that introduce themselves with a name that cannot be theirs.
--
--   main.cf:
--     smtpd_restriction_classes = known_helo
--     known_helo = lua:$config_directory/known_helo.lua
--     smtpd_recipient_restrictions = reject_unauth_destination, known_helo
--
-- A function of a restriction class gets one table with the attributes of the policy protocol
-- (SMTPD_POLICY_README) and answers with the words main.cf and access(5) use.  Anything else (nil, an
-- unknown word, an error) is 451 4.3.5 for the client and file:line in the log, never a permit.

local function is_ours(name)
  return name == "localhost" or name:find("^localhost%.") ~= nil
end

function check(session)
  local helo = session.helo_name:lower()
  if is_ours(helo) then
    return "reject", "5.7.1 Nobody but ourselves is called " .. helo
  end
  if not helo:find(".", 1, true) then
    return "dunno"
  end
  -- A name that exists neither as a host nor as a mail domain is worth a second try later, not more.
  local addresses, why = dns.a(helo)
  if addresses == nil then
    log.info("known_helo: " .. helo .. ": " .. why)
    return "dunno"
  end
  if #addresses == 0 and helo:find("%.invalid$") then
    return "450", "4.7.1 " .. helo .. " does not exist"
  end
  return "dunno"
end
