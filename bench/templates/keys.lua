-- Requests that each have another key, in the query and in a field: 1 to 99991, then again.
local first, second, third
local key = 0

function init(arguments)
   wrk.path = wrk.path .. "?user=@"
   wrk.headers["X-User"] = "@"
   -- Formatted once: for each request it would take wrk far longer than all the rest.
   first, second, third = wrk.format():match("^([^@]*)@([^@]*)@([^@]*)$")
end

function request()
   key = key % 99991 + 1
   return first .. key .. second .. key .. third
end
