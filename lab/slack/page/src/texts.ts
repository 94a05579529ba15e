// The page's own words, in the language of the person who looks. English is the key; what a language lacks stays English.
// A text with a {hole} takes values for it.

type Table = Record<string, string>;

// prettier-ignore
const PORTUGUESE: Table = {
  "(edited)": "(editada)",
  "(optional)": "(opcional)",
  "1 reply": "1 resposta",
  "App Home": "Página inicial do app",
  "Apps": "Apps",
  "Approver": "Aprovação",
  "Are you sure?": "Tem certeza?",
  "Back": "Voltar",
  "Bold": "Negrito",
  "Cancel": "Cancelar",
  "Channel {name}": "Canal {name}",
  "Channels": "Canais",
  "Channels and people": "Canais e pessoas",
  "Channels and people, unread messages": "Canais e pessoas, mensagens não lidas",
  "Choose any": "Escolha quantos quiser",
  "Choose one": "Escolha um",
  "Close": "Fechar",
  "Close the list of channels": "Fechar a lista de canais",
  "Close thread": "Fechar conversa",
  "Code": "Código",
  "Commands": "Comandos",
  "Connection lost. Reconnecting…": "Conexão perdida. Reconectando…",
  "Date": "Data",
  "Direct messages with the app": "Mensagens diretas com o app",
  "Dismiss": "Dispensar",
  "Dismiss message": "Dispensar mensagem",
  "Engineer": "Engenharia",
  "Everything else": "Todo o resto",
  "Formatting": "Formatação",
  "Guest": "Visitante",
  "Hide image": "Ocultar imagem",
  "Home": "Início",
  "Italic": "Itálico",
  "Last reply at {time}": "Última resposta às {time}",
  "Loading…": "Carregando…",
  "Mention someone": "Mencionar alguém",
  "Message actions": "Ações da mensagem",
  "Message {place}": "Mensagem para {place}",
  "Messages": "Mensagens",
  "Messages with {name}": "Mensagens com {name}",
  "More actions": "Mais ações",
  "Must be {most} or less.": "Deve ser no máximo {most}.",
  "Must be {least} or more.": "Deve ser no mínimo {least}.",
  "New messages ↓": "Novas mensagens ↓",
  "No results": "Nenhum resultado",
  "Only visible to you": "Só você vê esta mensagem",
  "People and apps": "Pessoas e apps",
  "Please complete this required field.": "Preencha este campo obrigatório.",
  "Please enter a number.": "Digite um número.",
  "Please enter a whole number.": "Digite um número inteiro.",
  "Please enter at least {n} characters.": "Digite pelo menos {n} caracteres.",
  "React with {name}": "Reagir com {name}",
  "Reactions": "Reações",
  "Remove {name}": "Remover {name}",
  "Reply in thread": "Responder na conversa",
  "Reply…": "Responder…",
  "Run the KVM cluster": "Opera o cluster KVM",
  "Run the cluster": "Opera o cluster",
  "Select": "Selecionar",
  "Select an option": "Selecione uma opção",
  "Send": "Enviar",
  "Show image": "Mostrar imagem",
  "Slash command": "Comando de barra",
  "Strikethrough": "Tachado",
  "Suggestions": "Sugestões",
  "Table": "Tabela",
  "Text": "Texto",
  "The app did not answer ({error}).": "O app não respondeu ({error}).",
  "The workspace answered {status}.": "O workspace respondeu {status}.",
  "There is no channel {place} here. Choose one on the left.": "Não há nenhum canal {place} aqui. Escolha um à esquerda.",
  "This is the very beginning of {place}.": "Este é o começo de {place}.",
  "This is the very beginning of your conversation with {name}.": "Este é o começo da sua conversa com {name}.",
  "Thread": "Conversa",
  "Type {n} more characters to search.": "Digite mais {n} caracteres para buscar.",
  "Type 1 more character to search.": "Digite mais 1 caractere para buscar.",
  "View as": "Ver como",
  "We had some trouble connecting. Try again? ({error})": "Tivemos um problema de conexão. Tentar de novo? ({error})",
  "Where changes are approved": "Onde as mudanças são aprovadas",
  "Where the cluster is run": "Onde o cluster é operado",
  "Workspace": "Workspace",
  "Yes": "Sim",
  "connected": "conectado",
  "file": "arquivo",
  "not connected": "não conectado",
  "to choose": "para escolher",
  "to complete,": "para completar,",
  "{count} replies": "{count} respostas",
  "{count} unread": "{count} não lidas",
  "{mentions} for you": "{mentions} para você",
  "{name} has not published a home view for you yet.": "{name} ainda não publicou uma página inicial para você.",
  "{name} home": "Início de {name}",
  "{name} is not connected: commands and buttons will not be answered.": "{name} não está conectado: comandos e botões não serão respondidos.",
};

/** Every letter another one, but for those of a hole: what stays Latin is no text of the page. CLDR's name for such a language. */
export const PSEUDO = "en-XA";
const wide = (text: string): string =>
  text.replace(/\{\w+\}|[A-Za-z]/g, (found) =>
    found.length > 1 ? found : String.fromCharCode(found.charCodeAt(0) + 0xfee0),
  );

let table: Table = {};
let pseudo = false;

export function setTexts(locale: string | undefined): void {
  table = locale?.startsWith("pt") ? PORTUGUESE : {};
  pseudo = locale === PSEUDO;
}

/** A text of the page in the reader's language, its {holes} filled. */
export function t(english: string, values: Record<string, string | number> = {}): string {
  const found = pseudo ? wide(english) : (table[english] ?? english);
  return found.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
