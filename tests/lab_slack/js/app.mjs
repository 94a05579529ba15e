// A small Slack app on Slack's own JavaScript SDK; says "ready" when it is connected and ends when stdin closes.
import bolt from "@slack/bolt";

const { SLACK_API_URL, SLACK_BOT_TOKEN, SLACK_APP_TOKEN, SLACK_SIGNING_SECRET, HTTP_PORT } = process.env;
const app = new bolt.App({
  token: SLACK_BOT_TOKEN,
  clientOptions: { slackApiUrl: SLACK_API_URL },
  logLevel: bolt.LogLevel.ERROR,
  ...(HTTP_PORT ? { signingSecret: SLACK_SIGNING_SECRET } : { appToken: SLACK_APP_TOKEN, socketMode: true }),
});

const plain = (text) => ({ type: "plain_text", text });
const form = {
  type: "modal",
  callback_id: "name",
  title: plain("Name it"),
  submit: plain("Save"),
  blocks: [
    { type: "input", block_id: "name", label: plain("Name"), element: { type: "plain_text_input", action_id: "name" } },
  ],
};

app.command("/kvm", async ({ ack, command, say }) => {
  await ack(`js heard ${command.text}`);
  await say({
    text: "choose",
    blocks: [
      {
        type: "actions",
        elements: [
          { type: "button", action_id: "open", text: plain("Open") },
          { type: "button", action_id: "replace", text: plain("Replace"), value: "v1" },
          { type: "external_select", action_id: "host", placeholder: plain("Host"), min_query_length: 0 },
        ],
      },
    ],
  });
});

app.action("open", async ({ ack, body, client }) => {
  await ack();
  await client.views.open({ trigger_id: body.trigger_id, view: form });
});

app.action("replace", async ({ ack, action, respond }) => {
  await ack();
  await respond({ text: `replaced ${action.value}`, replace_original: true });
});

app.options("host", async ({ ack, payload }) => {
  await ack({ options: ["host-a", "host-b"].filter((n) => n.includes(payload.value)).map((n) => ({ text: plain(n), value: n })) });
});

app.view("name", async ({ ack, view, client, body }) => {
  const { value } = view.state.values.name.name;
  if (value === "bad") {
    await ack({ response_action: "errors", errors: { name: "Another one." } });
    return;
  }
  await ack();
  await client.chat.postMessage({ channel: "C0OPS", text: `<@${body.user.id}> named it ${value}` });
});

app.event("app_mention", async ({ event, say }) => {
  await say({ text: `js in the thread: ${event.text}`, thread_ts: event.ts });
});

app.message("refuse", async ({ client, message }) => {
  try {
    const blocks = [{ type: "section", text: { type: "mrkdwn", text: "x".repeat(3001) } }];
    await client.chat.postMessage({ channel: message.channel, text: "x", blocks });
  } catch (error) {
    await client.chat.postMessage({ channel: message.channel, text: `${error.data.error}: ${error.data.errors.at(-1)}` });
  }
});

app.event("app_home_opened", async ({ event, client }) => {
  const blocks = [{ type: "header", text: plain("From JavaScript") }];
  await client.views.publish({ user_id: event.user, view: { type: "home", blocks } });
});

await app.start(HTTP_PORT ? { port: Number(HTTP_PORT), host: "127.0.0.1" } : undefined);
console.log("ready");
process.stdin.resume();
process.stdin.on("end", () => app.stop().finally(() => process.exit(0)));
